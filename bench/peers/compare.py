#!/usr/bin/env python3
"""Measures the CPU goals P1 to P5: tern's training steps beside PyTorch's, and its convolutions beside the machine's peak.

In a round every program runs once, in turn: tern, then PyTorch in each layout, eager and compiled. A ratio is taken within a round, against the
variant of PyTorch that has the best median; the figure is the median of the rounds, the spread their smallest and largest.

  bench/peers/compare.py --build build/cpu --rounds 5 --json bench/results/cpu.json       (with a Python that has torch)
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# A whole step: goal, network, lanes, pictures a lane; how much faster than PyTorch it must be, and is meant to be.
STEPS = [("P1", "cifar-cnn", 4, 32, 1.35, 2.5), ("P2", "lenet", 1, 128, 3, 5), ("P2", "lenet", 1, 32, 4, 7), ("P2", "lenet", 1, 1, 10, 30),
         ("P3", "resnet18", 4, 32, 1.35, 2)]
# Peak resident memory over PyTorch's, of the same processes.
MEMORY = {("cifar-cnn", 4, 32): (0.35, 0.25), ("lenet", 1, 128): (0.15, 0.08), ("resnet18", 4, 32): (0.5, 0.4)}
# Share of the multiply-add peak of the convolutions' passes; conv1 has three input channels.
PASSES, CONV1 = (0.8, 0.9), (0.5, 0.5)
# After more steps on one batch momentum and gradients of what no longer learns are denormal numbers, which are slow.
MOST_STEPS = 800
VARIANTS = [("eager", "contiguous"), ("eager", "channels_last"), ("compiled", "contiguous"), ("compiled", "channels_last")]


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_json(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def tern_step(args, model, lanes, micro_batch):
    steps = max(5, round(args.seconds * {"cifar-cnn": 5, "lenet": 200, "resnet18": 0.5}[model] * 128 / (lanes * micro_batch) ** 0.9))
    return run_json([args.build / "bench_step", "--model", ROOT / f"tools/configs/{model}.json", "--lanes", lanes, "--micro-batch", micro_batch,
                     "--threads", args.threads, "--steps", min(steps, MOST_STEPS), "--json"]) | {"model": model}  # not this checkout's path


def torch_step(args, model, lanes, micro_batch, variant):
    mode, layout = variant
    return run_json([args.python, HERE / "step.py", "--model", model, "--lanes", lanes, "--micro-batch", micro_batch, "--threads", args.threads,
                     "--layout", layout, "--seconds", args.seconds, "--most-steps", MOST_STEPS, *(["--compile"] if mode == "compiled" else [])])


def measure_steps(args, steps, variants):
    """{step: [{program: result} of a round]}"""
    rounds = {step: [] for step in steps}
    for i in range(args.rounds):
        for step in steps:
            goal, model, lanes, micro_batch = step[:4]
            row = {"tern": tern_step(args, model, lanes, micro_batch)}
            for variant in variants:
                row[" ".join(variant)] = torch_step(args, model, lanes, micro_batch, variant)
            rounds[step].append(row)
            say(f"round {i + 1}/{args.rounds}  {goal} {model} {lanes} x {micro_batch}: "
                + ", ".join(f"{name} {result['ms_median']:.2f} ms" for name, result in row.items()))
    return rounds


def best_peer(rounds, key="ms_median"):
    names = [name for name in rounds[0] if name != "tern"]
    return min(names, key=lambda name: statistics.median(row[name][key] for row in rounds))


def spread(values):
    return f"{min(values):.2f} to {max(values):.2f}"


def verdict(value, must, aim, larger_is_better=True):
    reaches = (lambda goal: value >= goal) if larger_is_better else (lambda goal: value <= goal)
    return "aim" if reaches(aim) else "must" if reaches(must) else "missed"


def speed_rows(rounds):
    for (goal, model, lanes, micro_batch, must, aim), measured in rounds.items():
        peer = best_peer(measured)
        ratios = [row[peer]["ms_median"] / row["tern"]["ms_median"] for row in measured]
        figure = statistics.median(ratios)
        ms = statistics.median(row["tern"]["ms_median"] for row in measured)
        share = statistics.median(row["tern"]["share_of_fma_peak"] for row in measured)
        yield [goal, f"{model} {lanes} x {micro_batch}, PyTorch's time over tern's ({peer}; tern {ms:.3g} ms, {share:.2f} of the FMA peak)", f"{must}x", f"{aim}x",
               f"{figure:.2f}x", spread(ratios), verdict(figure, must, aim)]


def memory_rows(rounds):
    for (_, model, lanes, micro_batch, *_), measured in rounds.items():
        if (model, lanes, micro_batch) not in MEMORY:
            continue
        must, aim = MEMORY[model, lanes, micro_batch]
        eager = [{name: row[name] for name in row if name == "tern" or name.startswith("eager")} for row in measured]
        peer = best_peer(eager, "peak_rss")
        ratios = [row["tern"]["peak_rss"] / row[peer]["peak_rss"] for row in eager]
        figure = statistics.median(ratios)
        mb = [statistics.median(row[name][key] for row in eager) / 1e6 for name, key in (("tern", "peak_rss"), (peer, "peak_rss"), (peer, "imported_rss"))]
        yield ["P5", f"{model} {lanes} x {micro_batch}, peak RSS over PyTorch's ({peer}: {mb[0]:.0f} of {mb[1]:.0f} MB, {mb[2]:.0f} of them the import)",
               f"{must}", f"{aim}", f"{figure:.2f}", spread(ratios), verdict(figure, must, aim, larger_is_better=False)]


def measure_passes(args):
    """[{(layer, pass): share of the FMA peak} of a round]"""
    rounds = []
    for i in range(args.rounds):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            subprocess.run([args.build / "bench", "--filter", r"^cifar-cnn/conv\d/(forward|dgrad|wgrad)$", "--threads", str(args.threads),
                            "--min-time", str(args.seconds / 10), "--json", file.name], check=True, stdout=subprocess.DEVNULL)
            result = json.load(open(file.name))
        shares = {}
        for row in result["benchmarks"]:
            if (found := re.match(r"cifar-cnn/conv(\d)/(\w+)", row["name"])) and row.get("run_type") != "aggregate":
                shares.setdefault((int(found[1]), found[2]), []).append(row["of_peak"])
        rounds.append({key: statistics.median(values) for key, values in shares.items()})
        say(f"round {i + 1}/{args.rounds}  P4: " + ", ".join(f"conv{layer} {name} {share:.2f}" for (layer, name), share in rounds[-1].items()))
    return rounds


def pass_rows(rounds):
    for layer, name in rounds[0]:
        if (layer, name) == (1, "dgrad"):
            continue  # nobody wants the gradient of the pictures
        must, aim = CONV1 if layer == 1 else PASSES
        shares = [row[layer, name] for row in rounds]
        figure = statistics.median(shares)
        yield ["P4", f"conv{layer} {name}, share of the FMA peak", f"{must}", f"{aim}", f"{figure:.2f}", spread(shares), verdict(figure, must, aim)]


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build/cpu")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch (default: this one)")
    parser.add_argument("--goals", default="P1,P2,P3,P4,P5", help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="that a program times steps in a round (default 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it needs a C++ compiler, and a minute for each network")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured there")
    args = parser.parse_args()
    goals = set(args.goals.split(","))
    if unknown := goals - {"P1", "P2", "P3", "P4", "P5"}:
        parser.error(f"--goals: got {', '.join(sorted(unknown))}, wanted some of P1,P2,P3,P4,P5")

    started = time.time()
    wanted = [step for step in STEPS if step[0] in goals or ("P5" in goals and step[1:4] in MEMORY)]
    variants = [variant for variant in VARIANTS if variant[0] == "eager" or not args.no_compile]
    rounds = measure_steps(args, wanted, variants)
    passes = measure_passes(args) if "P4" in goals else []
    rows = [row for row in speed_rows({step: measured for step, measured in rounds.items() if step[0] in goals})]
    rows += pass_rows(passes) if passes else []
    rows += memory_rows(rounds) if "P5" in goals else []

    any_tern = [row["tern"] for measured in rounds.values() for row in measured]
    facts = {"cpu": cpu_name(), "threads": args.threads, "rounds": args.rounds, "date": time.strftime("%Y-%m-%d", time.gmtime()),
             "revision": subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()}
    if any_tern:
        facts |= {"simd": any_tern[0]["simd"], "torch": next(row[name]["torch"] for measured in rounds.values() for row in measured for name in row if name != "tern"),
                  "peak_fma_gflops": spread([r["peak_fma_gflops"] for r in any_tern]), "peak_copy_gbps": spread([r["peak_copy_gbps"] for r in any_tern])}
    print(", ".join(f"{key} {value}" for key, value in facts.items()) + "\n")
    print("| goal | measure | must | aim | figure | spread | reached |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps({
            "facts": facts, "table": rows,
            "steps": [{"goal": s[0], "model": s[1], "lanes": s[2], "micro_batch": s[3], "rounds": measured} for s, measured in rounds.items()],
            "passes": [[{"layer": layer, "pass": name, "of_peak": share} for (layer, name), share in row.items()] for row in passes]}, indent=1) + "\n")
    say(f"measured in {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
