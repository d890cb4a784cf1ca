#!/usr/bin/env python3
"""Times whole training steps of PyTorch on a synthetic batch, as bench_step does tern's, and prints one line of JSON.

The batch lies in memory as bytes and is normalised in every step; nothing is augmented. The recipe (optimizer, clip, loss) is train.py's.
"""
import argparse
import json
import resource
import statistics
import time

import torch

from cifar import Resident
from train import RECIPES, Training


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Synthetic(Resident):
    """As many pictures as a step has."""

    def __init__(self, count):
        self.images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
        self.labels = torch.arange(count) % 10


def timed_steps(step, seconds, at_least, at_most):
    """Milliseconds of steps until `seconds` and `at_least` are reached, or `at_most`."""
    times, start = [], time.perf_counter()
    while len(times) < at_most and (len(times) < at_least or time.perf_counter() - start < seconds):
        before = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - before))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, default="cifar-cnn")
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--micro-batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--compile", nargs="?", const="default", metavar="MODE", help="torch.compile of network and loss")
    parser.add_argument("--seconds", type=float, default=5, help="time steps for at least so long (default 5)")
    parser.add_argument("--steps", type=int, default=5, help="and at least so many (default 5)")
    parser.add_argument("--most-steps", type=int, default=1_000_000, help="and at most so many")
    args = parser.parse_args()
    args.device, args.amp = "cpu", "off"

    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    imported = resident_bytes()
    recipe = RECIPES[args.model] | {"lanes": args.lanes, "micro_batch": args.micro_batch, "augment": False}
    training = Training(args, recipe, steps=1_000_000)
    training.network.train()
    data = Synthetic(args.lanes * args.micro_batch)
    indices = torch.arange(len(data))
    for _ in range(3):  # compiles, chooses algorithms, touches memory
        training.step(data, indices)
    times = timed_steps(lambda: training.step(data, indices), args.seconds, args.steps, args.most_steps)
    print(json.dumps({
        "torch": torch.__version__, "model": args.model, "lanes": args.lanes, "micro_batch": args.micro_batch, "layout": args.layout,
        "compile": args.compile, "threads": args.threads, "steps": len(times), "ms_median": statistics.median(times), "ms_fastest": min(times),
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "imported_rss": imported}))


if __name__ == "__main__":
    main()
