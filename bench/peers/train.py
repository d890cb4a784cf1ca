#!/usr/bin/env python3
"""Trains tern's presets with PyTorch at the recipes of tools/configs/*.json: the peer that tern is measured against.

Prints and writes (--json) for every epoch the seconds of training, those of the evaluation, loss and test accuracy, and
the peak resident memory of the process. On a GPU the data set lies in its memory, and nothing in a step waits for it.
See README.md.
"""
import argparse
import json
import resource
import time
from functools import partial

import torch
from torch import nn

from cifar import TEST_FILES, TRAIN_FILES, Pictures, Resident
from networks import NETWORKS

HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
CIFAR = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.247, 0.2435, 0.2616)}
RECIPES = {
    "cifar-cnn": {"micro_batch": 32, "lanes": 4, "clip": 1.0, "smoothing": 0.0, "augment": False, "normalize": HALF},
    "lenet": {"micro_batch": 4, "lanes": 1, "clip": None, "smoothing": 0.0, "augment": False, "normalize": HALF},
    "resnet18": {"micro_batch": 32, "lanes": 4, "clip": None, "smoothing": 0.1, "augment": True, "normalize": CIFAR},
}


AMP = {"fp16": torch.float16, "bf16": torch.bfloat16}


def make_optimizer(name, network, steps, fused):
    """The optimizer and its schedule, which is None where the rate is constant."""
    options = {"fused": True} if fused else {}
    # The recipes keep momentum and betas constant, which PyTorch's OneCycle would move by default.
    cycle = partial(torch.optim.lr_scheduler.OneCycleLR, cycle_momentum=False)
    if name == "cifar-cnn":
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.001, weight_decay=0.01, **options)
        return optimizer, cycle(optimizer, 0.01, steps, pct_start=0.3, div_factor=10, final_div_factor=100)
    if name == "lenet":
        return torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, **options), None
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, **options)
    return optimizer, cycle(optimizer, 0.1, steps)


def augment(x):
    """Reflect-pad 4, crop at a place of its own for each picture, flip half of them."""
    padded = nn.functional.pad(x, (4,) * 4, mode="reflect")
    places = torch.randint(0, 9, (len(x), 2)).tolist()
    x = torch.stack([p[:, i:i + 32, j:j + 32] for p, (i, j) in zip(padded, places)])
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, x.flip(3), x)


def lane_loss(network, x, labels, smoothing):
    return nn.functional.cross_entropy(network(x), labels, label_smoothing=smoothing, reduction="sum")


class Training:
    """A network with what it is trained with. `lane_loss` may be compiled; the evaluation is not."""

    def __init__(self, args, recipe, steps):
        self.recipe, self.device = recipe, torch.device(args.device)
        self.on_gpu = self.device.type == "cuda"
        self.layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
        self.network = NETWORKS[args.model]().to(self.device, memory_format=self.layout)
        self.optimizer, self.schedule = make_optimizer(args.model, self.network, steps, fused=self.on_gpu)
        self.amp = AMP.get(args.amp)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=args.amp == "fp16")
        self.lane_loss, self.keep_gradients = lane_loss, bool(args.compile)
        if args.compile:
            self.lane_loss = torch.compile(lane_loss, mode=args.compile, dynamic=False)
            # Gradients of their own: those of a CUDA graph would be overwritten by its next lane.
            for parameter in self.network.parameters():
                parameter.grad = torch.zeros_like(parameter)

    def autocast(self):
        return torch.autocast(self.device.type, dtype=self.amp, enabled=self.amp is not None)

    def wait(self):
        if self.on_gpu:
            torch.cuda.synchronize()

    def step(self, data, indices):
        """One optimizer step on the pictures at `indices`; the sum of their losses."""
        recipe, total = self.recipe, 0.0
        self.optimizer.zero_grad(set_to_none=not self.keep_gradients)
        for lane in range(0, len(indices), recipe["micro_batch"]):
            x, labels = data.batch(indices[lane:lane + recipe["micro_batch"]], **recipe["normalize"])
            if recipe["augment"]:
                x = augment(x)
            with self.autocast():
                loss = self.lane_loss(self.network, x.contiguous(memory_format=self.layout), labels, recipe["smoothing"])
            self.scaler.scale(loss / len(indices)).backward()
            total += loss.detach().double() if self.on_gpu else loss.item()
        if recipe["clip"]:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe["clip"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.schedule:
            self.schedule.step()
        return total

    def epoch(self, data):
        """The mean loss."""
        self.network.train()
        order = torch.randperm(len(data), device=self.device) if self.on_gpu else torch.randperm(len(data)).numpy()
        size = self.recipe["micro_batch"] * self.recipe["lanes"]
        return float(sum(self.step(data, order[first:first + size]) for first in range(0, len(order), size))) / len(order)

    @torch.no_grad()
    def accuracy(self, data, batch=500):
        self.network.eval()
        correct = 0
        for first in range(0, len(data), batch):
            indices = range(first, min(first + batch, len(data)))
            if self.on_gpu:
                indices = torch.arange(indices.start, indices.stop, device=self.device)
            x, labels = data.batch(indices, **self.recipe["normalize"])
            with self.autocast():
                logits = self.network(x.contiguous(memory_format=self.layout))
            hits = (logits.argmax(1) == labels).sum()
            correct += hits if self.on_gpu else hits.item()
        return float(correct) / len(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=RECIPES, default="cifar-cnn")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of CIFAR-10's binary files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--limit", type=int, metavar="N", help="train and test on the first N pictures only")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:i (default cpu)")
    parser.add_argument("--amp", choices=["off", *AMP], default="off", help="autocast to 16 bits (default off)")
    parser.add_argument("--compile", nargs="?", const="default", metavar="MODE", choices=["default", "reduce-overhead", "max-autotune"],
                        help="torch.compile of network and loss; MODE: default, reduce-overhead, max-autotune")
    parser.add_argument("--one-batch", action="store_true", help="a step's lanes as one batch: BatchNorm sees all of it")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = dict(RECIPES[args.model])
    size = recipe["micro_batch"] * recipe["lanes"]
    if args.one_batch:
        recipe["micro_batch"], recipe["lanes"] = size, 1
    train = Pictures(args.data, TRAIN_FILES, args.limit)
    test = Pictures(args.data, TEST_FILES, args.limit)
    training = Training(args, recipe, args.epochs * -(-len(train) // size))
    if training.on_gpu:
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32, as in tern
        train, test = Resident(train, training.device), Resident(test, training.device)

    epochs = []
    for epoch in range(1, args.epochs + 1):
        training.wait()
        start = time.perf_counter()
        loss = training.epoch(train)
        training.wait()
        middle = time.perf_counter()
        test_acc = training.accuracy(test)
        seconds, eval_seconds = middle - start, time.perf_counter() - middle
        epochs.append({"epoch": epoch, "train_loss": loss, "test_acc": test_acc, "seconds": seconds,
                       "eval_seconds": eval_seconds})
        print(f"epoch {epoch}: loss {loss:.4f}, test {100 * test_acc:.2f} %, {seconds:.{3 if training.on_gpu else 1}f} s, "
              f"evaluation {eval_seconds:.{3 if training.on_gpu else 1}f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak resident memory {peak / 2**20:.0f} MiB")
    if training.on_gpu:
        print(f"peak GPU memory {torch.cuda.max_memory_reserved(training.device) / 2**20:.0f} MiB")
    if args.json:
        result = {"model": args.model, "torch": torch.__version__, "seed": args.seed, "threads": args.threads,
                  "layout": args.layout, "device": args.device, "amp": args.amp, "compile": args.compile,
                  "one_batch": args.one_batch, "train_pictures": len(train), "epochs": epochs, "peak_rss_bytes": peak}
        if training.on_gpu:
            result["gpu"] = torch.cuda.get_device_name(training.device)
            result["peak_gpu_bytes"] = torch.cuda.max_memory_reserved(training.device)
        with open(args.json, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
