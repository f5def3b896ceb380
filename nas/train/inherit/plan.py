"""Which block of the parent each block of a child starts from, and which channels they share."""

import torch
from torch import Tensor, nn

from nas.train.inherit.teacher import Teacher, convolution
from nas.train.inherit.views import Use, choose, project
from search_spaces.blocks.spab import SPAB
from search_spaces.parts import parts
from search_spaces.spec import ArchSpec

CLOSED_GATES = (
    "parameter_free",
    "hard_parameter_free",
)  # gates that cannot pass their input as it is


def _read_last_attention(spec: ArchSpec) -> str | None:
    """Return the attention of the last SPAB; None without a SPAB."""
    attentions = [
        str(dict(block.args)["attention"]) for block in spec.blocks if block.kind == "spab"
    ]
    return attentions[-1] if attentions else None


def match_blocks(num_ours: int, num_theirs: int, *, at_end: bool) -> list[int | None]:
    """Choose the parent's block, from 1, for each block of a child.

    Blocks are the SPABs, and a stack before them.

    Fewer blocks: the first and the last ones. Released SPAN and SPANF lose least without their
    middle: SPAN has 27.64 dB, the mean of Set5 and Set14, with blocks 1, 2, 5, 6 of six, and 26.79
    to 27.56 dB with any other four.

    More blocks: all of the parent's, and new ones (None) before the last, whose inner feature may
    be tapped; with `at_end` behind it.
    """
    if num_ours <= num_theirs:
        first, last = (num_ours + 1) // 2, num_ours // 2
        return [*range(1, first + 1), *range(num_theirs - last + 1, num_theirs + 1)]

    body: list[int | None] = list(range(1, num_theirs + 1))
    place = num_theirs if at_end or num_theirs == 1 else num_theirs - 1
    return body[:place] + [None] * (num_ours - num_theirs) + body[place:]


class Plan:
    """What a walk asks: which block, feature and channels of the parent stand for the child's.

    Blocks and stages are numbered as in the child; stage 0 is the stem, stage i block i's output.
    """

    def __init__(self, teacher: Teacher, spec: ArchSpec) -> None:
        self.teacher = teacher
        self.spec = spec
        self.theirs = teacher.spec
        has_end = spec.blocks[-1].kind == "conv"  # a convolution after the blocks
        self._check_parts(has_end)
        self.num_blocks = len(spec.blocks) - has_end
        self._num_theirs = len(self.theirs.blocks) - has_end

        # New blocks that cannot pass x on stand at the end, others before the last block.
        at_end = _read_last_attention(spec) in CLOSED_GATES
        self._sources = match_blocks(self.num_blocks, self._num_theirs, at_end=at_end)
        self._outputs = self._find_outputs()
        self._widths = {
            part.name: int(dict(part.block.args).get("channels", 0)) for part in parts(spec)
        }
        self._downs = self._share_channels()

    def _check_parts(self, has_end: bool) -> None:
        ours, theirs = self.spec, self.theirs

        # Another scale or frame gives features that mean something else.
        for name, a, b in (
            ("scale", ours.scale, theirs.scale),
            ("stem", ours.stem is None, theirs.stem is None),
            ("first block", ours.blocks[0].kind, theirs.blocks[0].kind),
            ("last block", has_end, theirs.blocks[-1].kind == "conv"),
        ):
            if a != b:
                raise ValueError(
                    f"{name} of a child must be its parent's to inherit weights, got {a!r} for "
                    f"{b!r}; take a parent of the same space"
                )

    def source(self, i: int) -> int | None:
        """Return the parent's block for block i; None for a new one."""
        return self._sources[i - 1] if i <= self.num_blocks else self._num_theirs + 1

    def output(self, stage: int) -> str:
        """Return the parent's feature that a stage is to give: the next matched block's input."""
        return self._outputs[stage]

    def trunk(self, stage: int) -> Tensor:
        """Return the channels of that feature that are kept: `down` of a View."""
        return self._downs[stage]

    def last(self) -> Tensor:
        """Return `down` for the convolution after the blocks.

        No activation follows it, so its channels may be any combinations of the parent's.
        """
        name = f"block{self._num_theirs + 1}"
        rows = self.teacher.features[name]
        ours = self._widths[f"block{self.num_blocks + 1}"]
        readers = self._fusion_readers(name)
        return (
            project(rows, torch.cat(readers), ours) if readers else torch.eye(rows.shape[1])[:ours]
        )

    def inner_uses(self, block: str, name: str, reader: nn.Module) -> list[Use]:
        """List how an activated convolution of a parent's block is used."""
        kernels: tuple[Tensor, ...] = (convolution(reader).weight,)
        if name == "inner":
            kernels = (*kernels, *self._fusion_readers(f"{block}.inner"))
        return [Use(rows=self.teacher.features[f"{block}.{name}"], kernels=kernels)]

    def _find_outputs(self) -> list[str]:
        """Name the parent's feature that each stage is to give."""
        outputs = []
        for stage in range(self.num_blocks + 1):
            # The next block that has a source takes its source's input.
            following = [source for source in self._sources[stage:] if source]
            number = following[0] - 1 if following else self._num_theirs
            outputs.append(f"block{number}" if number else "stem")
        return outputs

    def _share_channels(self) -> list[Tensor]:
        """Choose the channels of each stage; stages that an identity links keep the same ones."""
        ours = [self._widths.get("stem", -1)] + [
            self._widths[f"block{i}"] for i in range(1, self.num_blocks + 1)
        ]
        rows = self.teacher.features

        # Run by run of linked stages of one width: their features are judged together.
        first = 0 if self.spec.stem else 1
        downs = [torch.zeros(0)] * first
        while first <= self.num_blocks:
            last = first
            while (
                last < self.num_blocks and ours[last + 1] == ours[first] and self._are_linked(last)
            ):
                last += 1

            # A feature counts once, though several stages may give it.
            names = dict.fromkeys(self.output(stage) for stage in range(first, last + 1))
            uses = [Use(rows=rows[name], kernels=self._trunk_readers(name)) for name in names]
            downs += [choose(uses, ours[first])] * (last + 1 - first)
            first = last + 1

        return downs

    def _are_linked(self, stage: int) -> bool:
        """Return whether the parent keeps its channels from this stage to the next."""
        names = ["stem"] + [f"block{i}" for i in range(1, self._num_theirs + 1)]
        begin, end = names.index(self.output(stage)), names.index(self.output(stage + 1))

        between = [self.teacher.net.blocks[str(i)] for i in range(begin + 1, end + 1)]
        return all(
            isinstance(block, SPAB) and isinstance(block.shortcut, nn.Identity) for block in between
        )

    def _trunk_readers(self, name: str) -> tuple[Tensor, ...]:
        """List the parent's kernels that read a stage: the next block's first, and the fusion's."""
        number = 1 if name == "stem" else int(name.removeprefix("block")) + 1
        kernels: list[Tensor] = []
        blocks = self.teacher.net.blocks

        # The last stage is read by the fusion alone.
        if str(number) in blocks:
            block = blocks[str(number)]
            first = block.conv1 if isinstance(block, SPAB) else block
            kernels.append(convolution(first).weight)

        return (*kernels, *self._fusion_readers(name))

    def _fusion_readers(self, name: str) -> tuple[Tensor, ...]:
        """Return the part of the fusion's kernel that reads a feature; none if it is not tapped.

        A separable head is taken as one dense kernel.
        """
        net = self.teacher.net
        fusion = convolution(net.fusion).weight
        if dict(self.theirs.fusion.args).get("channels") is None:
            fusion = convolution(net.upsampler.conv).weight * fusion.transpose(0, 1)

        # The fusion reads the taps one behind the other.
        start = 0
        for tap in self.theirs.taps:
            width = (
                3 * self.theirs.scale**2 if tap == "skip" else self.teacher.features[tap].shape[1]
            )
            if tap == name:
                return (fusion[:, start : start + width],)
            start += width

        return ()
