"""Build a published network, count it, and upscale an image."""

import torch

from nas.measure.cost import measure_cost
from search_spaces import build, published


def main() -> None:
    """Print the counts of SPANV2, and the shape of what it makes of a random image."""
    spec = published("spanv2")
    cost = measure_cost(spec)
    print(f"{cost.params:,} parameters, {cost.flops / 1e9:.2f} GFLOPs for an image of 256x256")

    # weights are random here; load_official(net, "FILE.pth") takes released ones
    net = build(spec).eval()
    image = torch.rand(1, 3, 32, 48)  # RGB in [0, 1]
    with torch.no_grad():
        upscaled = net(image)
    print(f"{tuple(image.shape)} -> {tuple(upscaled.shape)}")


if __name__ == "__main__":
    main()
