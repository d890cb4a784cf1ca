"""A small training on synthetic pictures, for scripts that look at what it leaves behind."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def skip(reason):
    print(f"Skipped: {reason}")
    sys.exit(77)


class Bench:
    """A folder with pictures and a config; runs tern's programs in it."""

    def __init__(self, build, folder):
        self.build, self.folder = Path(build), Path(folder)
        self.run("trainer", "data", "synth", "--dir", "data", "--train", "320", "--test", "200")
        (self.folder / "c.json").write_text(json.dumps({
            "model": {"layers": [
                {"type": "conv2d", "name": "conv1", "out": 8, "kernel": 3, "stride": 2}, {"type": "batch_norm", "name": "bn1"},
                {"type": "relu"}, {"type": "global_avg_pool"}, {"type": "linear", "name": "fc1", "out": 10}]},
            "data": {"name": "synthetic", "dir": "data"},
            "train": {"epochs": 2, "micro_batch": 16, "lanes": 2},
            "log": {"every_steps": 2}, "run": {"seed": 3, "threads": 1, "device": "cpu"}}))

    def run(self, program, *arguments, code=0):
        done = subprocess.run([str(self.build / program), *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != code:
            raise RuntimeError(f"{program} {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def train(self, *arguments, code=0):
        return self.run("trainer", "c.json", "--progress", "none", *arguments, code=code)


def main(check, description):
    """Runs check(bench), which returns a list of what is wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", required=True, metavar="DIR", help="tern's build folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tern-interop-") as folder:
        wrong = check(Bench(os.path.abspath(args.build), folder))
    for line in wrong:
        print("FAILED:", line)
    print("failed" if wrong else "passed")
    sys.exit(1 if wrong else 0)
