"""The stages bench, train and peers of tools/gpu-check."""
import csv
import io
import json
import random
import re
import shutil
import statistics
import subprocess
import tarfile
import threading
import time
from pathlib import Path

from .stage import PICTURES, ROOT, Failed

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def stage_bench(stage):
    failures = []
    for dtype in stage.args.dtypes.split(","):
        file = stage.out / f"bench-{dtype}.part"
        status, output = stage.run([stage.program("bench"), "--device", "cuda", "--dtype", dtype, "--min-time", 0.05, "--json", file,
                                    *(["--filter", stage.args.filter] if stage.args.filter else [])])
        if status != 0:
            failures.append(f"{dtype}: {'ran out of time' if status is None else f'exit status {status}'}")
        stage.result[dtype] = json.loads(file.read_text()) if file.exists() and file.stat().st_size else {"output": output[-20000:]}
        file.unlink(missing_ok=True)
        if "wrong kernels" in output:  # each is named behind this line
            wrong = output[output.index("wrong kernels"):].splitlines()[1:]
            stage.result[dtype]["not_timed"] = wrong
            stage.lines += [f"{dtype}, not timed: {line.strip()}" for line in wrong]
        context = stage.result[dtype].get("context", {})
        stage.say(f"{dtype}: " + (", ".join(f"{key[5:]} {float(value):.0f}" for key, value in context.items() if key.startswith("peak "))
                                  or "no results"))
        stage.lines += [f"{dtype}: {line}" for line in bound_by_memory(stage.result[dtype].get("benchmarks", []))]
    stage.result["steps"] = []
    for precision in ("fp32", "fp16"):
        status, output = stage.run([stage.program("bench_step"), "--device", "cuda", "--precision", precision, "--steps", 200, "--json"])
        if status != 0:
            failures.append(f"bench_step {precision}")
            continue
        step = json.loads(output.strip().splitlines()[-1])
        stage.result["steps"].append(step)
        stage.say(f"cifar-cnn step, {precision}: {step['ms_median']:.3f} ms, {step['images_per_s']:.0f} images/s")
    if failures:
        raise Failed("; ".join(failures))


def bound_by_memory(benchmarks):
    """Lines for the rows of goal P8: the share of the copy bandwidth."""
    goal = re.compile(r"^(batch_norm|relu|max_pool2d|adamw|cross_entropy|add|cast)(/|$)")
    for row in benchmarks:
        if goal.match(row["name"]) and "flop/s" not in row and "of_copy" in row:
            yield f"{row['name']}: {row['of_peak']:.3f} of copy ({row['of_copy']:.3f} of a copy of its size), {row['real_time']:.1f} us"


class GpuWatch:
    """Samples the GPU's use and memory while it is open."""
    FIELDS = ["utilization.gpu", "memory.used", "clocks.sm", "power.draw"]

    def __enter__(self):
        self.samples = []
        try:
            self.process = subprocess.Popen(
                ["nvidia-smi", "--query-gpu=" + ",".join(self.FIELDS), "--format=csv,noheader,nounits", "-lms", "100"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            self.process = None
            return self
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def read(self):
        for line in self.process.stdout:
            try:
                self.samples.append([time.time(), *map(float, line.split(","))])
            except ValueError:
                pass  # a field that this GPU does not tell

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.reader.join(5)

    def summary(self):
        busy = [sample for sample in self.samples if sample[1] > 0]
        if not busy:
            return {"samples": len(self.samples)}
        return {"samples": len(self.samples), "gpu_util_mean_when_busy": statistics.mean(s[1] for s in busy),
                "gpu_util_max": max(s[1] for s in busy), "gpu_mem_peak_mib": max(s[2] for s in busy),
                "sm_mhz_median": statistics.median(s[3] for s in busy), "watts_max": max(s[4] for s in busy)}


def pictures(stage):
    """The folder of CIFAR-10's binary files: --data, or unpacked once from the carried archive."""
    if stage.args.data:
        return Path(stage.args.data).resolve()
    folder = stage.build / "data"
    if not (folder / "cifar-10-batches-bin/test_batch.bin").exists():
        if not PICTURES.exists():
            raise Failed(f"no pictures: give --data DIR, or carry {PICTURES.relative_to(ROOT)} (tools/gpu-check --collect)")
        unpack_pictures(PICTURES, folder / "cifar-10-batches-bin")
    return folder


def unpack_pictures(archive, folder):
    """PART/CLASS/NAME.jpg of the archive as CIFAR-10's binary records, in a fixed shuffled order."""
    from PIL import Image
    parts = {"train": [], "test": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            part, name, _ = member.name.split("/")
            image = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
            planes = b"".join(channel.tobytes() for channel in image.split())
            parts[part].append((member.name, bytes([CLASSES.index(name)]) + planes))
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in (("train", [f"data_batch_{i}.bin" for i in range(1, 6)]), ("test", ["test_batch.bin"])):
        records = [record for _, record in sorted(parts[part])]
        random.Random(10).shuffle(records)
        for i, name in enumerate(names):
            (folder / name).write_bytes(b"".join(records[i * 10000:(i + 1) * 10000]))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n")


def train_tern(stage, precision, epochs, data, seed=42):
    """cifar-cnn by trainer on the GPU: what every epoch took and reached."""
    run = stage.build / f"runs/{stage.name}-{precision}-{seed}"
    shutil.rmtree(run, ignore_errors=True)
    start = time.monotonic()
    with GpuWatch() as watch:
        stage.need([stage.program("trainer"), "tools/configs/cifar-cnn.json", "--device", stage.args.device, "--precision", precision,
                    "--epochs", epochs, "--seed", seed, "--set", f"data.dir={json.dumps(str(data))}", "--out", run, "--progress", "none"])
    seconds = time.monotonic() - start
    rows = [list(csv.DictReader(open(run / name))) for name in ("metrics.csv", "timing.csv")]
    result = {"precision": precision, "seed": seed, "process_seconds": seconds, "gpu": watch.summary(), "epochs": []}
    for metrics, timing in zip(*rows):
        evaluation = float(timing["eval"])
        result["epochs"].append({"seconds": float(metrics["seconds"]) - evaluation, "eval_seconds": evaluation,
                                 "images_per_s": float(metrics["images_per_s"]), "train_loss": float(metrics["train_loss"]),
                                 "test_acc": float(metrics["test_acc"]), "timing": timing})
    result["seconds_per_epoch"] = warm_median(result["epochs"])
    return result


def warm_median(epochs):
    """Of all epochs but the first, which records, tunes and compiles."""
    return statistics.median(epoch["seconds"] for epoch in epochs[1:] or epochs)


def stage_train(stage):
    data = pictures(stage)
    stage.result["runs"] = []
    for precision in ("fp32", "fp16"):
        run = train_tern(stage, precision, stage.args.epochs, data)
        stage.result["runs"].append(run)
        last, gpu = run["epochs"][-1], run["gpu"]
        stage.say(f"{precision}: {run['seconds_per_epoch']:.3f} s/epoch ({last['images_per_s']:.0f} images/s), evaluation "
                  f"{last['eval_seconds']:.3f} s, accuracy {100 * last['test_acc']:.2f} % after {len(run['epochs'])} epochs; GPU use "
                  f"{gpu.get('gpu_util_mean_when_busy', float('nan')):.0f} %, {gpu.get('gpu_mem_peak_mib', float('nan')):.0f} MiB")


def stage_peers(stage):
    """tern and PyTorch in turn, in the seed's semantics (4 lanes of 32); and PyTorch with one batch of 128."""
    data = pictures(stage)
    amp = ["--device", stage.args.device, "--amp", "fp16", "--layout", "channels_last"]
    peers = {"torch eager": amp, "torch compiled": amp + ["--compile"],
             "torch compiled, CUDA graphs": amp + ["--compile", "reduce-overhead"],
             "torch eager, one batch": amp + ["--one-batch"], "torch compiled, one batch": amp + ["--one-batch", "--compile"]}
    seconds = {"tern fp16": []} | {name: [] for name in peers}
    stage.result["rounds"], faults = [], set()
    file = stage.out / "peer.part"
    for turn in range(stage.args.rounds):
        measured = {"tern fp16": train_tern(stage, "fp16", stage.args.peer_epochs, data, seed=turn + 1)}
        seconds["tern fp16"].append(measured["tern fp16"]["seconds_per_epoch"])
        for name, options in peers.items():
            status, output = stage.run(["python3", "bench/peers/train.py", "--data", data, "--epochs", stage.args.peer_epochs,
                                        "--seed", turn + 1, "--json", file, *options])
            if status != 0:
                faults.add(f"{name}: " + ("ran out of time" if status is None else (output.strip().splitlines() or ["no output"])[-1]))
                continue
            measured[name] = json.loads(file.read_text())
            seconds[name].append(warm_median(measured[name]["epochs"]))
        stage.result["rounds"].append(measured)
    file.unlink(missing_ok=True)
    own = statistics.median(seconds["tern fp16"])
    for name, those in seconds.items():
        if those:
            middle = statistics.median(those)
            stage.say(f"{name}: {middle:.3f} s/epoch ({min(those):.3f} to {max(those):.3f}), {middle / own:.2f} of tern's")
    stage.result["seconds_per_epoch"] = seconds
    if faults:
        raise Failed("; ".join(sorted(faults)))
