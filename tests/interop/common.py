"""What the comparisons with PyTorch share: tern's programs, pictures, weights."""
import json
import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "bench" / "peers"))

HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


class Setup:
    """Where things are: tern's build folder, the pictures, a folder for what is made on the way."""

    def __init__(self, build, data, work, threads):
        self.build, self.data, self.work, self.threads = Path(build), Path(data), Path(work), threads

    def run(self, program, *arguments):
        """Runs one of tern's programs; its output is shown only when it fails."""
        command = [str(self.build / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\nended with {done.returncode}: {done.stdout}{done.stderr}")

    def config(self, name, model, micro_batch=32, lanes=4):
        """A config file: the pictures of this set-up scaled to -1..1, no augmentation, a constant rate."""
        path = self.work / f"{name}.json"
        path.write_text(json.dumps({
            "model": model,
            "data": {"name": "cifar10", "dir": str(self.data), "normalize": HALF},
            "train": {"epochs": 1, "micro_batch": micro_batch, "lanes": lanes},
            "optim": {"name": "adamw", "lr": 0.001},
            "schedule": {"name": "constant"},
            "run": {"seed": 7, "threads": self.threads},
        }))
        return path

    def checkpoint(self, name, model, steps, micro_batch=32, lanes=4):
        """Trains some steps with tern and returns the checkpoint."""
        config, out = self.config(name, model, micro_batch, lanes), self.work / f"run-{name}"
        self.run("trainer", config, "--overfit-batches", steps, "--out", out, "--progress", "none")
        return out / "checkpoints" / "last.safetensors"


def load_checkpoint(path, network):
    """Loads tern's checkpoint into a PyTorch module by name, strictly, but for what only a training needs."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    weights = {name: t for name, t in tensors.items() if not name.startswith(("optimizer.", "loss_scale.")) and name != "ema"}
    network.load_state_dict(weights, strict=True)
    return network


def python_weights(path, network):
    """Writes a PyTorch module's state_dict, as anybody would."""
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, path)
    return path


def first_pictures(data, folder, count):
    """A data folder with the first `count` test pictures alone."""
    import cifar

    os.makedirs(folder, exist_ok=True)
    source = cifar.folder_of(data)
    with open(source / "test_batch.bin", "rb") as file:
        (Path(folder) / "test_batch.bin").write_bytes(file.read(count * cifar.RECORD))
    (Path(folder) / "batches.meta.txt").write_bytes((source / "batches.meta.txt").read_bytes())
    return Path(folder)
