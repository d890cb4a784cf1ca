#!/usr/bin/env python3
"""Converts a PyTorch .pth state_dict to safetensors, which tern reads: evaluate --model, trainer --init-from, predict.

Runs in your own Python with torch and safetensors, so that tern itself never reads pickle. The file is opened with
weights_only=True: it cannot run code. The weights may lie plain in the file or under "state_dict" or "model", and their
names may begin with "module." (DataParallel) or "_orig_mod." (torch.compile).

Exit codes: 0 written, 2 usage, 3 the file is none, or holds no weights.
"""
import argparse
import os
import sys
import tempfile

WRAPPERS = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.")


class BadFile(Exception):
    """What is wrong with the input, for people."""


def read_weights(path):
    """The tensors of a .pth file by name, and the key that they lay under ("" for none)."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadFile("no such file") from None
    except IsADirectoryError:
        raise BadFile("is a directory") from None
    except Exception as error:  # torch raises many kinds for what is no state_dict
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadFile(f"torch.load(weights_only=True) refuses it: {first}\n"
                      "  a whole module or training state was saved; save module.state_dict() alone") from None
    under = ""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content, under = content[key], key
            break
    if not isinstance(content, dict) or not content:
        raise BadFile(f"holds a {type(content).__name__}, wanted a state_dict: names and tensors")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise BadFile(f"{name!r} is a {type(tensor).__name__}, wanted a tensor"
                          f" (looked for a state_dict under {', '.join(WRAPPERS)} too)")
    return content, under


def renamed(weights, rules):
    """Names without wrappers' prefixes, then with every OLD=NEW rule in turn, as a prefix or a whole name."""
    out = {}
    for name, tensor in weights.items():
        new = name
        while new.startswith(PREFIXES):
            new = new.split(".", 1)[1]
        for old, by in rules:
            if new == old or new.startswith(old if old.endswith(".") else old + "."):
                new = by + new[len(old):]
        if new in out:
            raise BadFile(f"two tensors would be called '{new}' (one is '{name}')")
        if not new:
            raise BadFile(f"'{name}' would have no name left")
        out[new] = tensor.detach().clone().contiguous()
    return out


def rule(text):
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise argparse.ArgumentTypeError(f"got '{text}', wanted OLD=NEW, such as backbone.conv1=conv1")
    return old, new


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="IN.pth")
    parser.add_argument("output", metavar="OUT.safetensors", nargs="?", help="default: IN with .safetensors")
    parser.add_argument("--rename", metavar="OLD=NEW", type=rule, action="append", default=[],
                        help="a tensor's name, or the beginning of names up to a dot; may be repeated")
    parser.add_argument("--force", action="store_true", help="replace OUT where it exists")
    args = parser.parse_args()
    output = args.output or os.path.splitext(args.input)[0] + ".safetensors"
    try:
        from safetensors.torch import save_file
        import torch  # noqa: F401
    except ImportError as error:
        parser.exit(2, f"convert_pth: {error}: install torch and safetensors into this Python\n")
    if os.path.exists(output) and not args.force:
        parser.exit(2, f"convert_pth: {output} exists; --force replaces it\n")
    try:
        weights, under = read_weights(args.input)
        weights = renamed(weights, args.rename)
    except BadFile as error:
        parser.exit(3, f"convert_pth: {args.input}: {error}\n")
    folder = os.path.dirname(os.path.abspath(output))
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(handle)
    try:
        save_file(weights, temporary, metadata={"format": "pt"})
        os.chmod(temporary, 0o644)
        os.replace(temporary, output)
    except BaseException:
        os.unlink(temporary)
        raise
    numbers = sum(t.numel() for t in weights.values())
    where = f" from '{under}'" if under else ""
    print(f"{output}: {len(weights)} tensors{where}, {numbers:,} numbers")
    for name, tensor in weights.items():
        print(f"  {name}  {list(tensor.shape)}  {str(tensor.dtype).removeprefix('torch.')}")


if __name__ == "__main__":
    sys.exit(main())
