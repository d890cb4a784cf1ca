"""The same weights give the same predictions in tern and in PyTorch, both ways through safetensors."""
import csv

import torch

import cifar
from common import first_pictures, load_checkpoint, python_weights
from networks import NETWORKS

MOST_DIFFERENT = 2  # of 10,000: pictures whose two best classes are equal but for rounding

# name, steps that tern trains before PyTorch takes over, test pictures (None: all 10,000)
CASES = [("cifar-cnn", 40, None), ("lenet", 1000, None), ("resnet18", 4, 1000), ("airbench94", 6, 1000)]


def settle(network, data, batches=30):
    """A short training in PyTorch: statistics, scales and biases of real pictures, and predictions that differ."""
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=0.002)
    for i in range(batches):
        x, labels = data.batch(range(8 * i, 8 * i + 8))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    return network


@torch.no_grad()
def predict(network, data, batch=250):
    """Class and its probability for each picture."""
    network.eval()
    parts = [network(data.batch(range(i, min(i + batch, len(data))))[0]).softmax(1).max(1)
             for i in range(0, len(data), batch)]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])


def tern_predictions(setup, name, weights, data_dir, names):
    table = setup.work / f"{name}.csv"
    setup.run("evaluate", weights, "--model", name, "--data", data_dir, "--predictions", table,
              "--threads", setup.threads)
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    index = {n: i for i, n in enumerate(names)}
    return (torch.tensor([index[r["predicted"]] for r in rows]),
            torch.tensor([float(r["probability"]) for r in rows]))


def compare(setup, case):
    """Rows of the table for one network: from tern to PyTorch, and from PyTorch to tern."""
    name, steps, count = case
    data_dir = setup.data if count is None else first_pictures(setup.data, setup.work / f"first-{count}", count)
    names = (cifar.folder_of(data_dir) / "batches.meta.txt").read_text().split()
    test = cifar.Pictures(data_dir, cifar.TEST_FILES)
    shape = {"micro_batch": 4, "lanes": 1} if name == "lenet" else {}

    torch.manual_seed(5)
    ours = setup.checkpoint(name, {"name": name}, steps, **shape)
    theirs = settle(NETWORKS[name](), test)
    for way, weights, network in [
        ("tern to PyTorch", ours, load_checkpoint(ours, NETWORKS[name]())),
        ("PyTorch to tern", python_weights(setup.work / f"{name}-torch.safetensors", theirs), theirs),
    ]:
        classes, probabilities = tern_predictions(setup, name, weights, data_dir, names)
        expected, expected_probabilities = predict(network, test)
        yield {"network": name, "way": way, "pictures": len(test),
               "classes_used": len(expected.unique()),
               "different": int((classes != expected).sum()),
               "probability_error": float((probabilities - expected_probabilities).abs().max())}


def run(setup):
    """Compares, prints the table in Markdown and returns whether all holds."""
    print("| network | weights from | pictures | predicted otherwise | largest difference of a probability |")
    print("|---|---|---|---|---|")
    good = True
    for case in CASES:
        for row in compare(setup, case):
            holds = row["different"] <= MOST_DIFFERENT and row["classes_used"] > 1
            good &= holds
            print(f"| {row['network']} | {row['way']} | {row['pictures']:,} | {row['different']} | "
                  f"{row['probability_error']:.1e} |{'' if holds else ' FAILED'}", flush=True)
    return good
