#!/usr/bin/env python3
"""What the parameter server costs (goal P6): a cifar-cnn step with one worker over loopback, plain and with TLS, against
the same step in one process. The three run in turn, round after round; ratios are of the same round.

  bench/ps_overhead.py --build build/cpu --data data [--rounds 3] [--pictures 12800] [--threads 2] [--json FILE]

With --overlap it measures instead what it brings that gradients are sent while backward still runs: with TLS, against a worker with
--no-overlap; with --link MBIT over a link of so many Mbit/s each way, for which it wants root, ip and tc (the worker is in a network
namespace of its own).
"""
import argparse
import contextlib
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


@contextlib.contextmanager
def link(mbit):
    """The address of this side of a link with that rate, and what starts a program on the other side."""
    if not mbit:
        yield "127.0.0.1", []
        return
    there, ends = f"tern-{os.getpid()}", (f"tr{os.getpid()}a", f"tr{os.getpid()}b")
    ip = lambda *words: subprocess.run(["ip", *words], check=True)
    shape = ["qdisc", "add", "dev", "", "root", "tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "200ms"]
    ip("netns", "add", there)
    try:
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", there)
        ip("addr", "add", "10.78.0.1/30", "dev", ends[0])
        ip("link", "set", ends[0], "up")
        ip("-n", there, "addr", "add", "10.78.0.2/30", "dev", ends[1])
        ip("-n", there, "link", "set", ends[1], "up")
        for place, end in ([], ends[0]), (["ip", "netns", "exec", there], ends[1]):
            shape[3] = end
            subprocess.run([*place, "tc", *shape], check=True)
        yield "10.78.0.1", ["ip", "netns", "exec", there]
    finally:
        ip("netns", "del", there)


def served(args, folder, security, more=()):
    """Images a second, and the bytes that the server says it moved. `more` arguments are the worker's."""
    with link(args.link) as (address, there):
        return served_at(args, folder, security, more, address, there)


def served_at(args, folder, security, more, address, there):
    out = folder / "served"
    log = []
    command = [args.build / "ps_server", *recipe(args, out), "--progress", "lines", "--listen", f"{address}:0", *security]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    worker, moved = None, {}
    for line in server.stderr:
        log.append(line)
        if found := re.search(r"listening on [0-9.]+:(\d+)", line):
            worker = subprocess.Popen([*there, args.build / "ps_worker", "--server", f"{address}:{found[1]}", "--threads", str(args.threads), *security, *more],
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
    parser.add_argument("--overlap", action="store_true", help="sending during backward, against sending after it")
    parser.add_argument("--link", type=int, help="with --overlap: Mbit/s of the link to the worker")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    if args.link and not args.overlap:
        parser.error("--link is for --overlap")

    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        token = folder / "token"
        subprocess.run([args.build / "trainer", "keygen", token], check=True, stdout=subprocess.DEVNULL)
        kinds = {"local": lambda f: local(args, f), "plain": lambda f: served(args, f, ["--insecure"]),
                 "tls": lambda f: served(args, f, ["--token-file", str(token)])}
        if args.overlap:
            secret = ["--token-file", str(token)]
            kinds = {"overlap": lambda f: served(args, f, secret), "after": lambda f: served(args, f, secret, ["--no-overlap"])}
        for number in range(args.rounds):
            row, moved = {}, {}
            for name, run in kinds.items():
                place = folder / f"{number}-{name}"
                place.mkdir()
                row[name], moved[name] = run(place)
            rounds.append({"images_per_s": row, "moved": moved})
            print(f"round {number + 1}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()) + " images/s", flush=True)
    # What the second costs of the first, in time.
    pairs = {"after": ("overlap", "after")} if args.overlap else {"plain": ("local", "plain"), "tls": ("plain", "tls")}
    cost = {name: [r["images_per_s"][a] / r["images_per_s"][b] - 1 for r in rounds] for name, (a, b) in pairs.items()}
    for name, values in cost.items():
        print(f"{name}: median {100 * statistics.median(values):+.2f} %, from {100 * min(values):+.2f} to {100 * max(values):+.2f} %")
    for name in set(kinds) - {"local"}:
        print(f"moved, {name}: {rounds[-1]['moved'][name]}")
    if args.json:
        args.json.write_text(json.dumps({"pictures": args.pictures, "threads": args.threads, "link_mbit": args.link, "rounds": rounds, "cost": cost}, indent=1) + "\n")


if __name__ == "__main__":
    main()
