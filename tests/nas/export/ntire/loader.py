"""Runs networks as the challenge's script does: python loader.py FOLDER INPUTS.npz OUTPUTS.npz.

FOLDER holds models/teamNN_Name.py and model_zoo/teamNN_Name.pth. Stands alone: it imports nothing
of the project.
"""

import importlib
import os
import sys

import numpy as np
import torch


def load_model(folder, stem, device):
    name = stem.split("_", 1)[1]
    model = getattr(importlib.import_module(f"models.{stem}"), name)()
    path = os.path.join(folder, "model_zoo", f"{stem}.pth")
    model.load_state_dict(torch.load(path, map_location="cpu"), strict=True)
    model.eval()
    for _, weight in model.named_parameters():
        weight.requires_grad = False
    return model.to(device)


def main(folder, inputs, outputs):
    torch.set_num_threads(1)
    sys.path.insert(0, folder)
    made = {}
    with np.load(inputs) as images, torch.no_grad():
        for file in sorted(os.listdir(os.path.join(folder, "models"))):
            if not file.endswith(".py"):
                continue
            stem = file[:-3]
            model = load_model(folder, stem, torch.device("cpu"))
            for size in images.files:
                made[f"{stem}/{size}"] = model(torch.from_numpy(images[size])).numpy()
    foreign = [name for name in sys.modules if name.partition(".")[0] in ("nas", "search_spaces")]
    assert not foreign, foreign
    np.savez(outputs, **made)


if __name__ == "__main__":
    main(*sys.argv[1:])
