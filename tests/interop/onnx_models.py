"""The exported ONNX models give tern's predictions in onnxruntime, and pass ONNX's own checker."""
import csv
import json

import numpy as np
import onnx
import onnxruntime

import cifar
from common import Setup, first_pictures

PICTURES = 1000
MOST_DIFFERENT = 1  # pictures whose two best classes are equal but for rounding

# Every kind of layer that networks in JSON have, where a preset does not have it.
ODD_LAYERS = [
    {"type": "conv2d", "out": 12, "kernel": [3, 2], "stride": [1, 2], "padding": [1, 0], "bias": False},
    {"type": "layer_norm", "eps": 1e-4}, {"type": "gelu"},
    {"type": "conv2d", "out": 12, "kernel": 3, "padding": 2, "dilation": 2, "groups": 4}, {"type": "gelu_tanh"},
    {"type": "avg_pool", "kernel": 3, "stride": 2, "padding": 1},
    {"type": "residual", "name": "block", "activation": "silu",
     "body": [{"type": "conv2d", "out": 12, "kernel": 1}, {"type": "batch_norm", "eps": 1e-3}, {"type": "sigmoid"}]},
    {"type": "max_pool", "kernel": 3, "stride": 2, "padding": 1}, {"type": "tanh"}, {"type": "dropout"},
    {"type": "flatten"}, {"type": "linear", "out": 20, "bias": False}, {"type": "batch_norm"}, {"type": "relu"},
    {"type": "layer_norm"}, {"type": "linear", "out": 10}]

# name, model, steps that are trained before
CASES = [("cifar-cnn", {"name": "cifar-cnn"}, 10), ("lenet", {"name": "lenet"}, 30), ("resnet18", {"name": "resnet18"}, 4), ("airbench94", {"name": "airbench94"}, 4),
         ("all-layers", {"layers": ODD_LAYERS}, 20)]


def small_setup(setup):
    """The set-up with the first test pictures alone, so that a training's own evaluation is short too."""
    folder = first_pictures(setup.data, setup.work / f"first-{PICTURES}", PICTURES)
    for name in cifar.TRAIN_FILES:
        (folder / name).symlink_to(cifar.folder_of(setup.data).resolve() / name)
    return Setup(setup.build, folder, setup.work, setup.threads)


def onnx_predictions(path, pictures):
    """Classes and their probabilities, in batches of two sizes: the batch axis is free."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits = np.concatenate([session.run(["logits"], {"input": part})[0]
                             for part in (pictures[:300], pictures[300:301], pictures[301:])])
    e = np.exp(logits - logits.max(1, keepdims=True))
    return logits.argmax(1), (e / e.sum(1, keepdims=True)).max(1)


def compare(setup, name, model, steps):
    checkpoint = setup.checkpoint(f"onnx-{name}", model, steps)
    path, table = setup.work / f"{name}.onnx", setup.work / f"onnx-{name}.csv"
    setup.run("trainer", "export", checkpoint, "--onnx", path)
    loaded = onnx.load(path)
    onnx.checker.check_model(loaded, full_check=True)
    names = (setup.data / "batches.meta.txt").read_text().split()
    properties = {p.key: json.loads(p.value) for p in loaded.metadata_props if p.key in ("classes", "mean", "std")}
    good = properties == {"classes": names, "mean": [0.5] * 3, "std": [0.5] * 3}

    setup.run("evaluate", checkpoint, "--data", setup.data, "--predictions", table, "--threads", setup.threads)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    ours = np.array([names.index(row["predicted"]) for row in rows])
    raw = np.fromfile(setup.data / "test_batch.bin", np.uint8).reshape(-1, cifar.RECORD)[:, 1:]
    pictures = raw.reshape(-1, 3, 32, 32).astype(np.float32) / 255
    theirs, probabilities = onnx_predictions(str(path), pictures)
    return {"network": name, "different": int((ours != theirs).sum()), "classes_used": len(np.unique(ours)), "metadata": good,
            "error": float(np.abs(probabilities - [float(row["probability"]) for row in rows]).max())}


def run(setup):
    """Compares, prints the table in Markdown and returns whether all holds."""
    print("| network | pictures | predicted otherwise by onnxruntime | largest difference of a probability |")
    print("|---|---|---|---|")
    good, small = True, small_setup(setup)
    for case in CASES:
        row = compare(small, *case)
        holds = row["different"] <= MOST_DIFFERENT and row["classes_used"] > 1 and row["metadata"] and row["error"] < 1e-4
        good &= holds
        print(f"| {row['network']} | {PICTURES} | {row['different']} | {row['error']:.1e} |{'' if holds else f' FAILED: {row}'}", flush=True)
    return good
