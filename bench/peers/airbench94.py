#!/usr/bin/env python3
"""tools/configs/airbench94.json in PyTorch: the recipe that reaches 94 % on CIFAR-10 in seconds (Jordan 2024, arXiv:2404.00498, with Muon).

Pictures lie in the device's memory as bytes. On a CPU everything is f32; on a GPU fp16 with BatchNorm in f32, and Newton-Schulz in
bf16. Prints the accuracy after each epoch, at last with test-time augmentation, and the seconds from the first step's
preparation (whitening included, reading the files and compilation excluded) to the end of that evaluation.
"""
import argparse
import json
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

from cifar import TEST_FILES, TRAIN_FILES, Pictures, Resident
from networks import Airbench94

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
BATCH, EPOCHS, SMOOTHING = 2000, 8, 0.2
BIAS_LR, HEAD_LR, MUON_LR, WEIGHT_DECAY = 0.053, 0.67, 0.24, 4e-3


def newton_schulz(gradient, steps=3):
    """About the orthogonal factor of a matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient.bfloat16() if gradient.is_cuda else gradient
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                direction = p.grad.add(buffer, alpha=group["momentum"])
                p.mul_(len(p) ** 0.5 / p.norm())
                p.add_(newton_schulz(direction.reshape(len(p), -1)).reshape(p.shape).to(p.dtype), alpha=-group["lr"])


@torch.no_grad()
def initialize(network, pictures):
    """Identity filters first, a head of deviation 1, whitening of 2x2 patches."""
    for group in (network.group1, network.group2, network.group3):
        for conv in (group.conv1, group.conv2):
            nn.init.dirac_(conv.weight[:conv.weight.shape[1]])
    network.head.weight.div_(network.head.weight.std())
    patches = pictures.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).float()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / torch.sqrt(values + 5e-4)).T.reshape(12, 3, 2, 2)
    network.whiten.weight.copy_(torch.cat([filters, -filters]))
    network.whiten.weight.requires_grad = False
    for group in (network.group1, network.group2, network.group3):
        group.bn1.weight.requires_grad = group.bn2.weight.requires_grad = False


def crop(x):
    """Each picture cut out of its reflect-padded self, at a place of its own."""
    padded = F.pad(x, (2,) * 4, mode="reflect")
    places = torch.randint(0, 5, (2, len(x)), device=x.device)
    rows = places[0, :, None] + torch.arange(32, device=x.device)
    columns = places[1, :, None] + torch.arange(32, device=x.device)
    index = torch.arange(len(x), device=x.device)
    return padded.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class Run:
    def __init__(self, args, train, test):
        self.args, self.test_labels, self.labels = args, test.labels, train.labels
        self.device = torch.device(args.device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.layout = torch.channels_last if args.layout == "channels_last" else torch.contiguous_format
        everything = dict(mean=MEAN, std=STD, dtype=self.dtype)
        self.images, _ = train.batch(torch.arange(len(train), device=train.labels.device), **everything)
        self.test_images, _ = test.batch(torch.arange(len(test), device=test.labels.device), **everything)
        self.network = Airbench94().to(self.device, memory_format=self.layout)
        if self.dtype == torch.float16:
            self.network.half()
            for group in (self.network.group1, self.network.group2, self.network.group3):
                group.bn1.float(), group.bn2.float()
        self.forward = torch.compile(self.network, mode=args.compile) if args.compile else self.network

    def prepare(self):
        initialize(self.network, self.images[:5000])
        network, self.steps_per_epoch = self.network, len(self.images) // BATCH
        groups = (network.group1, network.group2, network.group3)
        norms = [norm.bias for group in groups for norm in (group.bn1, group.bn2)]
        plain = [{"params": [network.whiten.bias], "lr": BIAS_LR, "weight_decay": WEIGHT_DECAY / BIAS_LR},
                 {"params": norms, "lr": BIAS_LR, "weight_decay": WEIGHT_DECAY / BIAS_LR},
                 {"params": [network.head.weight], "lr": HEAD_LR, "weight_decay": WEIGHT_DECAY / HEAD_LR}]
        self.optimizers = [torch.optim.SGD(plain, momentum=0.85, nesterov=True, fused=True),
                           Muon([conv.weight for group in groups for conv in (group.conv1, group.conv2)], MUON_LR, 0.6)]
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        for group in self.groups:
            group["first_lr"] = group["lr"]
        self.flipped = (torch.rand(len(self.images), device=self.device) < 0.5)[:, None, None, None]
        self.step = 0

    def epoch(self, epoch):
        network = self.network
        network.train()
        sides = self.flipped if epoch % 2 == 0 else ~self.flipped
        bias_steps, steps = 3 * self.steps_per_epoch, self.args.epochs * self.steps_per_epoch
        order = torch.randperm(len(self.images), device=self.device)
        for first in range(0, self.steps_per_epoch * BATCH, BATCH):
            indices = order[first:first + BATCH]
            x = self.images[indices]
            x = crop(torch.where(sides[indices], x.flip(3), x)).contiguous(memory_format=self.layout)
            network.whiten.bias.requires_grad = self.step < bias_steps
            loss = F.cross_entropy(self.forward(x).float(), self.labels[indices], label_smoothing=SMOOTHING, reduction="sum")
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for i, group in enumerate(self.groups):
                group["lr"] = group["first_lr"] * (1 - self.step / (bias_steps if i == 0 else steps))
            for optimizer in self.optimizers:
                optimizer.step()
            self.step += 1

    @torch.no_grad()
    def accuracy(self, tta):
        self.network.eval()
        both = lambda x: (self.network(x) + self.network(x.flip(3))) / 2
        correct = 0
        for first in range(0, len(self.test_images), BATCH):
            x = self.test_images[first:first + BATCH].contiguous(memory_format=self.layout)
            if tta:
                padded = F.pad(x, (1,) * 4, mode="reflect")
                logits = both(x) / 2 + (both(padded[:, :, :32, :32]) + both(padded[:, :, 2:, 2:])) / 4
            else:
                logits = self.network(x)
            correct += int((logits.argmax(1) == self.test_labels[first:first + BATCH]).sum())
        return correct / len(self.test_images)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR", help="folder of CIFAR-10's binary files")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--limit", type=int, metavar="N", help="train and test on the first N pictures only")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="channels_last")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:i (default cpu)")
    parser.add_argument("--compile", nargs="?", const="max-autotune", metavar="MODE", help="torch.compile of the network; two steps compile it before the time starts")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train, test = (Resident(Pictures(args.data, files, args.limit), args.device) for files in (TRAIN_FILES, TEST_FILES))
    train.labels, test.labels = train.labels.to(args.device), test.labels.to(args.device)
    run = Run(args, train, test)
    if args.compile:
        state = {name: value.clone() for name, value in run.network.state_dict().items()}
        run.prepare()
        for _ in range(2):
            run.forward(run.images[:BATCH].contiguous(memory_format=run.layout)).float().sum().backward()
        run.network.load_state_dict(state)
    wait = torch.cuda.synchronize if run.device.type == "cuda" else lambda: None
    wait()
    start, epochs = time.perf_counter(), []
    run.prepare()
    for epoch in range(args.epochs):
        run.epoch(epoch)
        epochs.append(run.accuracy(tta=False) if epoch + 1 < args.epochs else run.accuracy(tta=True))
        wait()
        print(f"epoch {epoch + 1}: test {100 * epochs[-1]:.2f} %{'' if epoch + 1 < args.epochs else ' (test-time augmentation)'}, "
              f"{time.perf_counter() - start:.1f} s", flush=True)
    result = {"torch": torch.__version__, "seed": args.seed, "threads": args.threads, "layout": args.layout, "compile": args.compile, "test_acc": epochs,
              "seconds": time.perf_counter() - start, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    print(json.dumps(result))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file)


if __name__ == "__main__":
    main()
