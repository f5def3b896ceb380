"""How far does every network look, and do its tiles equal the whole image?

    python benchmarks/networks/tiles.py [--members 10]

A line holds a network, the radius of its receptive field in LR pixels, the period of its tiles, and
the largest difference in full scale of tiles of 32, 64 and 100 pixels to the whole image, at most
1e-5. Published networks come first, then random members of every space. Weights are drawn so that
far pixels count; "whole" means that the network looks at the whole image.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.shared.arguments import make_parser
from nas.cli import catalog
from nas.commands.search import compose_search
from nas.upscale.reach import Reach, find_period, measure_radius
from nas.upscale.tiles import cut_tiles
from search_spaces import ArchSpec, build, published
from search_spaces.chooser import RandomChooser
from search_spaces.published import names

SIZE = (131, 109)  # height and width: multiples of nothing
TILES = (32, 64, 100)


def draw_network(spec: ArchSpec) -> nn.Module:
    """Return a network whose features keep their size, so that far pixels show in its output."""
    torch.manual_seed(0)
    net = build(spec).eval().double()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return net


def compare_tiles(net: nn.Module, spec: ArchSpec, overlap: int, tile: int) -> float:
    """Return the largest difference of tiles to the whole, clamped to full scale."""
    x = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scale = spec.scale
    worst = 0.0
    with torch.inference_mode():
        whole = net(x).clamp(0, 1)
        for rows, columns in cut_tiles(*SIZE, tile, overlap):
            crop = x[..., rows.first : rows.last, columns.first : columns.last]
            part: Tensor = net(crop).clamp(0, 1)
            top, left = scale * (rows.begin - rows.first), scale * (columns.begin - columns.first)
            height, width = scale * (rows.end - rows.begin), scale * (columns.end - columns.begin)
            ours = part[..., top : top + height, left : left + width]
            theirs = whole[
                ...,
                scale * rows.begin : scale * rows.end,
                scale * columns.begin : scale * columns.end,
            ]
            worst = max(worst, float((ours - theirs).abs().max()))
    return worst


def measure(name: str, spec: ArchSpec) -> None:
    """Print the line of one network."""
    net = draw_network(spec)
    radius = measure_radius(net, spec.scale)
    if radius is None:
        print(f"{name:32} whole", flush=True)
        return
    period = find_period(net, spec.scale, radius, SIZE)
    if period is None:
        even = find_period(net, spec.scale, radius, (64, 64))
        print(f"{name:32} radius {radius:3}, no period; of sides of 64: {even}", flush=True)
        return
    overlap = Reach(radius=radius, period=period).overlap
    tiles = [tile - tile % period for tile in TILES if tile >= overlap]
    differences = [compare_tiles(net, spec, overlap, tile) for tile in tiles]
    verdict = "equal" if np.max(differences, initial=0) <= 1e-5 else "DIFFERENT"
    listed = ", ".join(
        f"{tile}: {value:.1e}" for tile, value in zip(tiles, differences, strict=True)
    )
    print(f"{name:32} radius {radius:3}, period {period:2}, {listed} {verdict}", flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--members", type=int, default=10, help="of every space")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in names():
        measure(name, published(name))
    for space_name in catalog.options("space"):
        space = compose_search(f"space={space_name}").space
        for seed in range(arguments.members):
            measure(f"{space_name} {seed}", space.sample(RandomChooser(random.Random(seed))))


if __name__ == "__main__":
    main()
