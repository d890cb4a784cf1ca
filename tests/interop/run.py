#!/usr/bin/env python3
"""Compares tern with PyTorch on real pictures and prints the tables of docs/benchmarks.md.

Exit codes: 0 agreement, 1 not, 77 skipped (no PyTorch, or no pictures).
"""
import argparse
import os
import sys
import tempfile


def skip(reason):
    print(f"Skipped: {reason}")
    sys.exit(77)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, metavar="DIR", help="tern's build folder")
    parser.add_argument("--data", metavar="DIR", default=os.environ.get("TERN_CIFAR10_DIR"),
                        help="folder of CIFAR-10's binary files; default: $TERN_CIFAR10_DIR")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["predictions", "gradients", "onnx"],
                        help="default: predictions and gradients")
    args = parser.parse_args()
    try:
        import numpy  # noqa: F401
        import safetensors
        import torch
    except ImportError as error:
        skip(f"{error}; set TERN_PYTHON to a Python with torch, safetensors and numpy")
    if not args.data:
        skip("set TERN_CIFAR10_DIR to the folder of CIFAR-10's binary files")
    import common
    import cifar
    try:
        cifar.folder_of(args.data)
    except FileNotFoundError as error:
        skip(f"{error} (TERN_CIFAR10_DIR)")
    if args.only == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
        except ImportError as error:
            skip(f"{error}; pip install onnx onnxruntime")
        import onnx_models
        parts = {"onnx": onnx_models.run}
    else:
        import gradients
        import predictions
        parts = {"predictions": predictions.run, "gradients": gradients.run}

    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, safetensors {safetensors.__version__}, {args.threads} thread(s)\n")
    with tempfile.TemporaryDirectory(prefix="tern-interop-") as work:
        setup = common.Setup(args.build, os.path.abspath(args.data), work, args.threads)
        good = [part(setup) for name, part in parts.items() if args.only in (None, name)]
    print("\nagreement" if all(good) else "\nNO AGREEMENT: see the rows marked FAILED")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
