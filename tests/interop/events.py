#!/usr/bin/env python3
"""Reads tern's event files back with TensorBoard's own reader. Exit codes: 0 as they should be, 1 not, 77 skipped."""
import csv
import json

import trained


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def compare(wrong, events, tag, steps, values):
    got = events.Scalars(tag)
    if [e.step for e in got] != steps:
        wrong.append(f"{tag}: steps {[e.step for e in got]}, wanted {steps}")
    elif any(abs(e.value - v) > 1e-5 * max(1, abs(v)) for e, v in zip(got, values)):
        wrong.append(f"{tag}: {[e.value for e in got]}, wanted {values}")


def check_run(run, events=None):
    """Are the events those of metrics.csv, timing.csv, steps.jsonl and the config, each once?"""
    wrong, events = [], events or read(run / "tb")
    rows = list(csv.DictReader(open(run / "metrics.csv")))
    steps = [int(r["step"]) for r in rows]
    tags = {"loss/train": "train_loss", "loss/test": "test_loss", "accuracy/train": "train_acc", "accuracy/test": "test_acc", "lr": "lr", "epoch": "epoch",
            "speed/seconds": "seconds", "speed/images_per_s": "images_per_s", "speed/data_wait": "data_wait", "memory/peak_rss": "peak_rss"}
    for tag, column in tags.items():
        values = [float(r[column]) for r in rows]
        compare(wrong, events, tag, steps, values if column != "data_wait" else [e.value for e in events.Scalars(tag)])
    lines = [json.loads(line) for line in open(run / "steps.jsonl")]
    for key in ("loss", "accuracy", "lr", "grad_norm"):
        compare(wrong, events, f"steps/{key}", [line["step"] for line in lines], [line[key] for line in lines])
    for phase in ("data", "forward", "backward", "optimizer", "eval"):
        if len(events.Scalars(f"timing/{phase}")) != len(rows):
            wrong.append(f"timing/{phase}: not one an epoch")
    text = events.Tensors("config")
    if len(text) != 1 or b'"seed": 3' not in text[0].tensor_proto.string_val[0]:
        wrong.append("config: not there once")
    images = {tag: events.Images(tag) for tag in events.Tags()["images"]}
    grid = images.pop("pictures/first step", [])
    if [(e.step, e.width, e.height) for e in grid] != [(1, 8 * 32, 4 * 32)]:  # 32 pictures
        wrong.append(f"pictures/first step: {[(e.step, e.width, e.height) for e in grid]}")
    if len(images) != 16 or any(len(i) != 1 or i[0].width != 32 or not i[0].encoded_image_string.startswith(b"\x89PNG") for i in images.values()):
        wrong.append(f"images: {sorted(images)}")
    return wrong


def check_open_reader(bench):
    """A TensorBoard that is open while a run goes back to an older checkpoint forgets the steps that are trained again."""
    newest = sorted((bench.folder / "resumed/checkpoints").glob("step-*"))[-1]
    newest.write_bytes(b"damaged")
    events = read(bench.folder / "resumed/tb")
    bench.train("--resume", "resumed")
    events.Reload()
    return check_run(bench.folder / "resumed", events)


def check(bench):
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        trained.skip(f"{error}; set TERN_PYTHON to a Python with tensorboard")
    bench.train("--out", "straight")
    # Stopped after one step with a checkpoint, and gone on with; then an end that is taken back and trained again.
    bench.train("--out", "resumed", "--max-time", "0.001s")
    bench.train("--resume", "resumed")
    newest = sorted((bench.folder / "resumed/checkpoints").glob("step-*"))[-1]
    newest.write_bytes(b"damaged")
    bench.train("--resume", "resumed")
    if len(list((bench.folder / "resumed/tb").iterdir())) < 3:
        return ["resumed: wanted several event files"]
    wrong = [f"{run}: {line}" for run in ("straight", "resumed") for line in check_run(bench.folder / run)]
    return wrong + [f"read while it was resumed: {line}" for line in check_open_reader(bench)]


if __name__ == "__main__":
    trained.main(check, __doc__)
