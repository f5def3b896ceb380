"""A search space in Python: a frozen dataclass that asks for every decision and returns a spec."""

import random
from dataclasses import dataclass

from nas.measure.cost import measure_cost
from search_spaces import ArchSpec, BlockSpec
from search_spaces.chooser import Chooser, RandomChooser, decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpace:
    """Chains of convolutions with a shortcut, as TSSR has them, of two widths and three depths."""

    channels: tuple[int, ...] = (16, 24)
    num_blocks: tuple[int, ...] = (2, 3, 4)

    def sample(self, chooser: Chooser) -> ArchSpec:
        """Return the network that the chooser's decisions describe."""
        # Every decision is asked in every sample, in one order: samplers learn from that.
        channels = chooser.pick("channels", self.channels)
        num_blocks = chooser.pick("num_blocks", self.num_blocks)
        activation = chooser.pick("activation", ("relu", "silu"))

        block = BlockSpec.of(
            "residual_chain",
            channels=channels,
            num_convs=2,
            activation=activation,
            activate_last=True,
            attention="none",
            bias=True,
        )
        return ArchSpec(
            scale=4,
            normalise=False,
            stem=BlockSpec.of("conv", channels=channels, kernel=3, bias=True),
            blocks=(block,) * num_blocks,
            taps=("stem", f"block{num_blocks}"),
            fusion=BlockSpec.of("conv", channels=channels, kernel=1, bias=True),
            upsampler=BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
        )


def main() -> None:
    """Print the decisions of the space, and the cheapest of some members."""
    space = ChainSpace()
    for name, options in decisions(space).items():
        print(f"{name}: {', '.join(map(str, options))}")

    chooser = RandomChooser(random.Random(0))
    members = {spec.arch_id: spec for spec in (space.sample(chooser) for _ in range(20))}
    flops = {arch_id: measure_cost(spec).flops for arch_id, spec in members.items()}
    cheapest = min(flops, key=flops.__getitem__)
    print(
        f"{len(members)} members drawn; the cheapest is {cheapest}: {flops[cheapest] / 1e9:.2f} GFLOPs"
    )


if __name__ == "__main__":
    main()
