#!/usr/bin/env python3
"""What the parameter server costs (goal P6): a cifar-cnn step with one worker over loopback, plain and with TLS, against
the same step in one process. The three run in turn, round after round; ratios are of the same round.

  bench/ps_overhead.py --build build/cpu --data data [--rounds 3] [--pictures 12800] [--threads 2] [--json FILE]
"""
import argparse
import csv
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def images_per_s(run):
    """Of training alone, in the last epoch: the first one also records the plans."""
    with open(run / "metrics.csv", newline="") as file:
        return float(list(csv.DictReader(file))[-1]["images_per_s"])


def recipe(args, out):
    return [str(ROOT / "tools/configs/cifar-cnn.json"), "--epochs", "2", "--set", f"data.dir={args.data}",
            "--set", f"data.limit={args.pictures}", "--threads", str(args.threads), "--out", str(out)]


def local(args, folder):
    out = folder / "local"
    subprocess.run([args.build / "trainer", *recipe(args, out), "--progress", "none"], check=True, stdout=subprocess.DEVNULL)
    return images_per_s(out), {}


def served(args, folder, security):
    """Images a second, and the bytes that the server says it moved."""
    out = folder / "served"
    log = []
    command = [args.build / "ps_server", *recipe(args, out), "--progress", "lines", "--listen", "127.0.0.1:0", *security]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    worker, moved = None, {}
    for line in server.stderr:
        log.append(line)
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
            worker = subprocess.Popen([args.build / "ps_worker", "--server", f"127.0.0.1:{found[1]}", "--threads", str(args.threads), *security],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if found := re.search(r"moved: (.*)", line):
            moved = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", found[1])}
    if server.wait() != 0 or worker is None or worker.wait() != 0:
        raise SystemExit(f"server or worker failed: {''.join(log)}")
    return images_per_s(out), moved


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/cpu")
    parser.add_argument("--data", required=True, help="folder with the real pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=12800)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()

    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        token = folder / "token"
        subprocess.run([args.build / "trainer", "keygen", token], check=True, stdout=subprocess.DEVNULL)
        kinds = {"local": lambda f: local(args, f), "plain": lambda f: served(args, f, ["--insecure"]),
                 "tls": lambda f: served(args, f, ["--token-file", str(token)])}
        for number in range(args.rounds):
            row, moved = {}, {}
            for name, run in kinds.items():
                place = folder / f"{number}-{name}"
                place.mkdir()
                row[name], moved[name] = run(place)
            rounds.append({"images_per_s": row, "moved": moved})
            print(f"round {number + 1}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()) + " images/s; plain costs "
                  f"{100 * (row['local'] / row['plain'] - 1):+.2f} %, TLS on top {100 * (row['plain'] / row['tls'] - 1):+.2f} %", flush=True)
    cost = {"plain": [r["images_per_s"]["local"] / r["images_per_s"]["plain"] - 1 for r in rounds],
            "tls": [r["images_per_s"]["plain"] / r["images_per_s"]["tls"] - 1 for r in rounds]}
    for name, values in cost.items():
        print(f"{name}: median {100 * statistics.median(values):+.2f} %, from {100 * min(values):+.2f} to {100 * max(values):+.2f} %")
    for name in ("plain", "tls"):
        print(f"moved, {name}: {rounds[-1]['moved'][name]}")
    if args.json:
        args.json.write_text(json.dumps({"pictures": args.pictures, "threads": args.threads, "rounds": rounds, "cost": cost}, indent=1) + "\n")


if __name__ == "__main__":
    main()
