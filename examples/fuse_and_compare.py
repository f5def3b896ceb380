"""Swap fused operators into a network and compare the outputs."""

import torch

from nas.ops.fuse import fuse
from search_spaces import build, published


def main() -> None:
    """Print how far the fused SPAN is from the plain one, and from the one with training branches."""
    torch.manual_seed(0)
    trained = build(published("span"), train=True).eval()
    plain = trained.fold()  # the branches of each convolution as one kernel
    fused = fuse(plain)  # a copy; on a CPU the operators run their plain references

    image = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        expected = plain(image)
        for name, net in (("trained", trained), ("fused", fused)):
            difference = (net(image) - expected).abs().max().item()
            print(f"{name} and plain differ by at most {difference:.1e}")


if __name__ == "__main__":
    main()
