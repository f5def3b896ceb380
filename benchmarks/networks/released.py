"""Every released checkpoint that is here: its PSNR, image by image, beside the reference's.

    python benchmarks/networks/released.py --shared ../shared

The greatest difference of an image is at most 0.001 dB; the released DWMamba draws random numbers, which ours
does not, and may differ by 0.05 dB.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from nas.commands.search import compose_search
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.measure.quality import per_image
from nas.train.weights import load_upscaler
from search_spaces import published

SETS = ("Set5", "Set14")
WORDS = {
    "spanv2_c2": "spanv2",
    "dscf_fused": "dscf_fused",
    "rfdn_span": "rfdn_span",
}  # others: the last word


def network_of(checkpoint: str) -> str:
    """The published network of a released file or a reference's key, such as team22_spanv2_c2."""
    words = checkpoint.split(" ")[0].lower()
    return next(
        (name for word, name in WORDS.items() if words.endswith(word)), words.rpartition("_")[2]
    )


def images_of(folder: Path) -> ImageSet:
    data = compose_search("data=folder", f"data.test='{folder}'").training.data
    return open_roles(data, scale=4, roles=("test",)).need("test")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--shared", type=Path, required=True, help="the folder with reference/ and data/"
    )
    options = parser.parse_args()
    reference = json.loads((options.shared / "reference" / "psnr.json").read_text())["psnr"]
    wanted = {network_of(key): value for key, value in reference.items()}
    print(
        f"{'network':12} {'images':7} {'mean dB':>9} {'reference':>9} {'largest difference of an image':>31}"
    )
    for file in sorted((options.shared / "reference" / "checkpoints").glob("*.pth")):
        name = network_of(file.stem)
        net = load_upscaler(published(name), file)
        for data in SETS:
            found = list(
                per_image(
                    net, images_of(options.shared / "data" / data), torch.device("cpu")
                ).values()
            )
            theirs = wanted[name][data]
            worst = max(abs(a - b) for a, b in zip(found, theirs["per_image"], strict=True))
            mean = sum(found) / len(found)
            print(f"{name:12} {data:7} {mean:9.4f} {theirs['mean']:9.4f} {worst:19.5f}", flush=True)


if __name__ == "__main__":
    main()
