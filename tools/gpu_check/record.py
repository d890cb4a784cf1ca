"""The stage record of tools/gpu-check: airbench94, whole, beside the same recipe in PyTorch (goals P9 and P10)."""
import csv
import json
import shutil
import statistics
import time

from .measure import pictures
from .stage import Failed


def train_record(stage, data, seed):
    """One training in a process of its own: from its start to its end, and the seconds of its epochs with their evaluations."""
    run = stage.build / f"runs/record-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    start = time.monotonic()
    stage.need([stage.program("trainer"), "tools/configs/airbench94.json", "--device", stage.args.device, "--seed", seed,
                "--set", f"data.dir={json.dumps(str(data))}", "--set", "log.tensorboard=false", "--out", run, "--progress", "none"])
    process = time.monotonic() - start
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    return {"seed": seed, "process_seconds": process, "seconds": sum(float(row["seconds"]) for row in rows),
            "test_acc": float(rows[-1]["test_acc"])}


def train_peer(stage, data, seed, options):
    file = stage.out / "peer.part"
    status, output = stage.run(["python3", "bench/peers/airbench94.py", "--data", data, "--device", stage.args.device, "--seed", seed, "--json", file, *options])
    if status != 0:
        raise Failed("airbench94.py: " + ("ran out of time" if status is None else (output.strip().splitlines() or ["no output"])[-1]))
    result = json.loads(file.read_text())
    file.unlink()
    return {"seed": seed, "seconds": result["seconds"], "test_acc": result["test_acc"][-1]}


def stage_record(stage):
    data = pictures(stage)
    peers = {"torch eager": [], "torch compiled": ["--compile"]}
    runs = stage.result["runs"] = {"tern": []} | {name: [] for name in peers}
    for seed in range(1, stage.args.record_seeds + 1):
        runs["tern"].append(train_record(stage, data, seed))
        for name, options in peers.items():
            if len(runs[name]) < stage.args.record_peer_seeds:
                runs[name].append(train_peer(stage, data, seed, options))
    own = statistics.median(run["seconds"] for run in runs["tern"])
    for name, those in runs.items():
        if not those:
            continue
        seconds, accuracy = [run["seconds"] for run in those], [100 * run["test_acc"] for run in those]
        spread = f" +- {statistics.stdev(accuracy):.2f}" if len(accuracy) > 1 else ""
        stage.say(f"{name}: {len(those)} runs, {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
                  f"{statistics.median(seconds) / own:.2f} of tern's, accuracy {statistics.mean(accuracy):.2f}{spread} %")
    process = [run["process_seconds"] for run in runs["tern"]]
    stage.say(f"tern, process start to end: {statistics.median(process):.2f} s ({min(process):.2f} to {max(process):.2f})")
