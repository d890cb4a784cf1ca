#!/usr/bin/env python3
"""tools/convert_pth.py: what it writes is what evaluate reads, and what it must refuse.

Exit codes: 0 good, 1 not, 77 skipped (no PyTorch).
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CONVERT = Path(__file__).resolve().parents[2] / "tools" / "convert_pth.py"


def lenet(torch):
    nn = torch.nn
    return nn.ModuleDict({"conv1": nn.Conv2d(3, 6, 5), "conv2": nn.Conv2d(6, 16, 5), "fc1": nn.Linear(400, 120),
                          "fc2": nn.Linear(120, 84), "fc3": nn.Linear(84, 10)})


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def check(holds, what):
    if not holds:
        print(f"FAILED: {what}")
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=Path)
    args = parser.parse_args()
    try:
        import torch
        from safetensors.torch import load_file
    except ImportError as error:
        print(f"Skipped: {error}; set TERN_PYTHON to a Python with torch and safetensors")
        return 77
    with tempfile.TemporaryDirectory(prefix="tern-convert-") as folder:
        work = Path(folder)
        torch.manual_seed(1)
        state = lenet(torch).state_dict()
        done = run(args.build / "trainer", "data", "synth", "--dir", work, "--train", 5, "--test", 50)
        check(done.returncode == 0, done.stderr)
        (work / "lenet.json").write_text(json.dumps({"model": {"name": "lenet"}, "data": {"name": "synthetic", "dir": str(work)}}))
        files = {
            "plain": (state, []),
            "wrapped": ({"epoch": 3, "state_dict": {"module." + k: v for k, v in state.items()}}, []),
            "renamed": ({"model": {"net." + k.replace("conv1.", "stem."): v for k, v in state.items()}}, ["--rename", "net.=", "--rename", "stem=conv1"]),
        }
        results = []
        for name, (content, rules) in files.items():
            torch.save(content, work / f"{name}.pth")
            out = work / f"{name}.safetensors"
            done = run(sys.executable, CONVERT, work / f"{name}.pth", out, *rules)
            check(done.returncode == 0, f"{name}: {done.stderr}")
            tensors = load_file(out)
            check(tensors.keys() == state.keys() and all(torch.equal(tensors[k], state[k]) for k in state), f"{name}: other tensors")
            done = run(args.build / "evaluate", out, "--model", work / "lenet.json", "--json")
            check(done.returncode == 0, f"{name}: {done.stderr}")
            results.append(json.loads(done.stdout)["checkpoints"][0]["loss"])
        check(len(set(results)) == 1, f"losses differ: {results}")

        done = run(sys.executable, CONVERT, work / "plain.pth")
        check(done.returncode == 2 and "exists; --force" in done.stderr, f"an existing file: {done.stderr}")
        torch.save(lenet(torch), work / "module.pth")
        torch.save({"a": 1}, work / "numbers.pth")
        torch.save({"module.a": state["fc3.bias"], "a": state["fc3.bias"]}, work / "twice.pth")
        (work / "text.pth").write_text("text")
        for name, says in [("module", "weights_only=True) refuses it"), ("numbers", "'a' is a int, wanted a tensor"),
                           ("twice", "two tensors would be called 'a'"), ("text", "refuses it"), ("none", "no such file")]:
            done = run(sys.executable, CONVERT, work / f"{name}.pth", work / "bad.safetensors")
            check(done.returncode == 3 and says in done.stderr, f"{name}: {done.returncode} {done.stderr}")
            check(not (work / "bad.safetensors").exists(), f"{name}: something was written")
    print("converted, read and refused as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
