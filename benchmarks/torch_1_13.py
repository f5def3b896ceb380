"""What PyTorch 1.13.1 knows and runs, for the export format ntire.

The challenge's machines have Python 3.9 and PyTorch 1.13. This script needs neither the project nor
a GPU; it runs under that PyTorch, which comes for Python 3.11 too:

    python3.11 -m venv /tmp/torch113 && /tmp/torch113/bin/pip install torch==1.13.1 'numpy<2'
    /tmp/torch113/bin/python benchmarks/torch_1_13.py list > nas/export/ntire/torch_1_13.txt
    /tmp/torch113/bin/python benchmarks/torch_1_13.py verify nas/export/ntire/torch_1_13.txt
    /tmp/torch113/bin/python benchmarks/torch_1_13.py run exports/mine/models/team05_SPAN.py \
        exports/mine/model_zoo/team05_SPAN.pth

`run` loads a network as the challenge does, runs it on three sizes, and prints the sum of each
output, or fails. With two more paths it reads an .npz of images and writes an .npz of outputs.
"""

import importlib
import os
import sys

import torch

MODULES = ("torch", "torch.nn", "torch.nn.functional", "torch.linalg", "torch.nn.init")
CLASSES = ("torch.Tensor", "torch.nn.Module", "torch.finfo")
SIZES = ((16, 16), (33, 48), (37, 21))


def list_names():
    """Return the public names of modules and classes, with their paths."""
    names = set()
    for path in MODULES:
        names |= {f"{path}.{name}" for name in dir(importlib.import_module(path))}
    for path in CLASSES:
        module, _, name = path.rpartition(".")
        made = getattr(importlib.import_module(module), name)
        names |= {f"{path}.{attribute}" for attribute in dir(made)}
    return sorted(name for name in names if not name.rpartition(".")[2].startswith("_"))


def load_model(file, weights):
    """Return the network of a printed file, strictly loaded, as the challenge's script does."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(file))))
    stem = os.path.splitext(os.path.basename(file))[0]
    module = importlib.import_module(f"models.{stem}")
    model = getattr(module, stem.split("_", 1)[1])()
    model.load_state_dict(torch.load(weights, map_location="cpu"), strict=True)
    return model.eval()


def run(file, weights, inputs=None, outputs=None):
    """Run a network on three sizes, or on the images of an archive."""
    torch.set_num_threads(1)
    model = load_model(file, weights)
    with torch.no_grad():
        if inputs is None:
            for height, width in SIZES:
                output = model(torch.rand(1, 3, height, width))
                print(f"{height}x{width}: {tuple(output.shape)}, sum {output.sum():.4f}")
            return
        import numpy as np

        with np.load(inputs) as images:
            made = {name: model(torch.from_numpy(images[name])).numpy() for name in images.files}
        np.savez(outputs, **made)


def main(command, *args):
    if not torch.__version__.startswith("1.13.1"):
        raise SystemExit(f"this is PyTorch {torch.__version__}; run it under 1.13.1")
    if command == "list":
        print(
            f"# Public names of PyTorch {torch.__version__}; benchmarks/torch_1_13.py writes them"
        )
        print("\n".join(list_names()))
    elif command == "verify":
        with open(args[0], encoding="utf-8") as lines:
            kept = [line.rstrip("\n") for line in lines if not line.startswith("#")]
        if kept != list_names():
            raise SystemExit(
                f"{args[0]} is not what this PyTorch has: {set(kept) ^ set(list_names())}"
            )
    elif command == "run":
        run(*args)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
