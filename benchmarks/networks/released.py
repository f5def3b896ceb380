"""Do released checkpoints give their reference's PSNR, image by image?

    python benchmarks/networks/released.py --shared ../shared

A line holds a network's mean PSNR on a set, the reference's, and the greatest difference of an
image: at most 0.001 dB is demanded. The released DWMamba draws random numbers, which ours does not,
and may differ by 0.05 dB.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from benchmarks.shared.arguments import make_parser
from nas.commands.search import compose_search
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.measure.quality import per_image
from nas.train.weights import load_upscaler
from search_spaces import published

SETS = ("Set5", "Set14")  # of data/, with 5 and 14 images
# The network of a file's name by its end; of other names the last word is the network.
NETWORKS = {"spanv2_c2": "spanv2", "dscf_fused": "dscf_fused", "rfdn_span": "rfdn_span"}


def find_network(checkpoint: str) -> str:
    """Return the published network of a file's or a reference's name, such as team22_spanv2_c2."""
    words = checkpoint.split(" ")[0].lower()
    matches = (name for word, name in NETWORKS.items() if words.endswith(word))
    return next(matches, words.rpartition("_")[2])


def open_images(folder: Path) -> ImageSet:
    """Open a folder of photographs as `nas evaluate` does."""
    data = compose_search("data=folder", f"data.test='{folder}'").training.data
    return open_roles(data, scale=4, roles=("test",)).need("test")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--shared", type=Path, required=True, help="the folder with reference/ and data/"
    )
    options = parser.parse_args()
    reference = json.loads((options.shared / "reference" / "psnr.json").read_text())["psnr"]
    references = {find_network(key): value for key, value in reference.items()}
    heads = f"{'mean dB':>9} {'reference':>9} {'largest difference of an image':>31}"
    print(f"{'network':12} {'images':7} {heads}")
    for file in sorted((options.shared / "reference" / "checkpoints").glob("*.pth")):
        name = find_network(file.stem)
        net = load_upscaler(published(name), file)
        for data in SETS:
            images = open_images(options.shared / "data" / data)
            ours = list(per_image(net, images, torch.device("cpu")).values())
            theirs = references[name][data]
            # Image by image: a mean would hide two errors of opposite sign.
            worst = max(abs(a - b) for a, b in zip(ours, theirs["per_image"], strict=True))
            mean = sum(ours) / len(ours)
            print(f"{name:12} {data:7} {mean:9.4f} {theirs['mean']:9.4f} {worst:19.5f}", flush=True)


if __name__ == "__main__":
    main()
