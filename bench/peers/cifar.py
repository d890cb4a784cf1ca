"""CIFAR-10's binary files, read as tern reads them: labels in memory, pixels from the file when a batch needs them.

Holding the 50,000 pictures in memory would add 150 MB to PyTorch's side of a comparison of memory.
"""
import os
from pathlib import Path

import numpy as np
import torch

RECORD = 3073  # a label, then 32x32 red, green, blue
TRAIN_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST_FILES = ["test_batch.bin"]


def folder_of(directory):
    """The folder that holds the files: DIR or DIR/cifar-10-batches-bin. Raises FileNotFoundError."""
    for folder in (Path(directory), Path(directory) / "cifar-10-batches-bin"):
        if (folder / TEST_FILES[0]).exists():
            return folder
    raise FileNotFoundError(f"{directory}: holds no {TEST_FILES[0]}, nor does its folder cifar-10-batches-bin")


class Pictures:
    """One split. `limit` keeps the first so many pictures."""

    def __init__(self, directory, files, limit=None):
        self.files, sizes, labels = [], [], []
        for name in files:
            file = os.open(folder_of(directory) / name, os.O_RDONLY)
            sizes.append(os.fstat(file).st_size // RECORD)
            self.files.append(file)
            labels += [os.pread(file, 1, i * RECORD)[0] for i in range(sizes[-1])]
        self.per_file = sizes[0]
        self.labels = torch.tensor(labels[:limit], dtype=torch.int64)

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, mean=(0.5,) * 3, std=(0.5,) * 3, dtype=torch.float32):
        """Normalised pictures [N,3,32,32] and labels [N] at `indices`."""
        pixels = np.empty((len(indices), RECORD - 1), np.uint8)
        for row, i in zip(pixels, indices):
            file, record = divmod(int(i), self.per_file)
            os.preadv(self.files[file], [row], record * RECORD + 1)
        x = torch.from_numpy(pixels).view(-1, 3, 32, 32).to(dtype) / 255
        shift, scale = (torch.tensor(v, dtype=dtype).view(1, 3, 1, 1) for v in (mean, std))
        return (x - shift) / scale, self.labels[torch.as_tensor(np.asarray(indices))]


class Resident:
    """A split whose pixels and labels lie in a GPU's memory; batch() takes a tensor of indices there."""

    def __init__(self, pictures, device):
        pixels = bytearray().join(os.pread(file, os.fstat(file).st_size, 0) for file in pictures.files)
        records = torch.frombuffer(pixels, dtype=torch.uint8).view(-1, RECORD)[:len(pictures)]
        self.images = records[:, 1:].reshape(-1, 3, 32, 32).to(device)
        self.labels = pictures.labels.to(device)

    def __len__(self):
        return len(self.labels)

    def batch(self, indices, mean=(0.5,) * 3, std=(0.5,) * 3, dtype=torch.float32):
        """Normalised pictures [N,3,32,32] and labels [N] at `indices`."""
        x = self.images[indices].to(dtype) / 255
        shift, scale = (torch.tensor(v, dtype=dtype, device=x.device).view(1, 3, 1, 1) for v in (mean, std))
        return (x - shift) / scale, self.labels[indices]
