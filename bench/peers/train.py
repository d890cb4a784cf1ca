#!/usr/bin/env python3
"""Trains tern's presets with PyTorch at the recipes of tools/configs/*.json: the peer that tern is measured against.

Prints and writes (--json) for every epoch the seconds of training, those of the evaluation, loss and test accuracy, and
the peak resident memory of the process. See README.md.
"""
import argparse
import json
import resource
import time
from functools import partial

import torch
from torch import nn

from cifar import TEST_FILES, TRAIN_FILES, Pictures
from networks import NETWORKS

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.247, 0.2435, 0.2616)}
RECIPES = {
    "cifar-cnn": {"micro_batch": 32, "lanes": 4, "clip": 1.0, "smoothing": 0.0, "augment": False, "normalize": HALF},
    "lenet": {"micro_batch": 4, "lanes": 1, "clip": None, "smoothing": 0.0, "augment": False, "normalize": HALF},
    "resnet18": {"micro_batch": 32, "lanes": 4, "clip": None, "smoothing": 0.1, "augment": True, "normalize": CIFAR},
}


def make_optimizer(name, network, steps):
    """The optimizer and its schedule, which is None where the rate is constant."""
    # The recipes keep momentum and betas constant, which PyTorch's OneCycle would move by default.
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, cycle_momentum=False)
    if name == "cifar-cnn":
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.001, weight_decay=0.01)
        return optimizer, cycle(optimizer, 0.01, steps, pct_start=0.3, div_factor=10, final_div_factor=100)
    if name == "lenet":
        return torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9), None
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return optimizer, cycle(optimizer, 0.1, steps)


def augment(x):
    """Reflect-pad 4, crop at a place of its own for each picture, flip half of them."""
    padded = nn.functional.pad(x, (4,) * 4, mode="reflect")
    places = torch.randint(0, 9, (len(x), 2)).tolist()
    x = torch.stack([p[:, i:i + 32, j:j + 32] for p, (i, j) in zip(padded, places)])
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def train_epoch(network, optimizer, schedule, data, recipe, layout):
    network.train()
    order = torch.randperm(len(data)).numpy()
    size = recipe["micro_batch"] * recipe["lanes"]
    total = 0.0
    for first in range(0, len(order), size):
        step = order[first:first + size]
        optimizer.zero_grad()
        for lane in range(0, len(step), recipe["micro_batch"]):
            x, labels = data.batch(step[lane:lane + recipe["micro_batch"]], **recipe["normalize"])
            if recipe["augment"]:
                x = augment(x)
            logits = network(x.contiguous(memory_format=layout))
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=recipe["smoothing"], reduction="sum")
            (loss / len(step)).backward()
            total += loss.item()
        if recipe["clip"]:
            nn.utils.clip_grad_norm_(network.parameters(), recipe["clip"])
        optimizer.step()
        if schedule:
            schedule.step()
    return total / len(order)


@torch.no_grad()
def accuracy(network, data, recipe, layout, batch=500):
    network.eval()
    correct = 0
    for first in range(0, len(data), batch):
        x, labels = data.batch(range(first, min(first + batch, len(data))), **recipe["normalize"])
        correct += (network(x.contiguous(memory_format=layout)).argmax(1) == labels).sum().item()
    return correct / len(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, default="cifar-cnn")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of CIFAR-10's binary files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--limit", type=int, metavar="N", help="train and test on the first N pictures only")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = RECIPES[args.model]
    layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
    train = Pictures(args.data, TRAIN_FILES, args.limit)
    test = Pictures(args.data, TEST_FILES, args.limit)
    network = NETWORKS[args.model]().to(memory_format=layout)
    size = recipe["micro_batch"] * recipe["lanes"]
    optimizer, schedule = make_optimizer(args.model, network, args.epochs * -(-len(train) // size))

    epochs = []
    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(network, optimizer, schedule, train, recipe, layout)
        middle = time.perf_counter()
        test_acc = accuracy(network, test, recipe, layout)
        seconds, eval_seconds = middle - start, time.perf_counter() - middle
        epochs.append({"epoch": epoch, "train_loss": loss, "test_acc": test_acc, "seconds": seconds,
                       "eval_seconds": eval_seconds})
        print(f"epoch {epoch}: loss {loss:.4f}, test {100 * test_acc:.2f} %, {seconds:.1f} s, "
              f"evaluation {eval_seconds:.1f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak resident memory {peak / 2**20:.0f} MiB")
    if args.json:
        result = {"model": args.model, "torch": torch.__version__, "seed": args.seed, "threads": args.threads,
                  "layout": args.layout, "train_pictures": len(train), "epochs": epochs, "peak_rss_bytes": peak}
        with open(args.json, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
