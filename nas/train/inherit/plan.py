"""Which block of the parent each block of a child starts from, and which channels they share."""

import torch
from torch import Tensor, nn

from nas.train.inherit.teacher import Teacher, convolution
from nas.train.inherit.views import Use, choose, project
from search_spaces.blocks.spab import SPAB
from search_spaces.parts import parts
from search_spaces.spec import ArchSpec

CLOSED = ("parameter_free", "hard_parameter_free")  # gates that cannot pass their input as it is


def _attention(spec: ArchSpec) -> str | None:
    """The attention of the last SPAB."""
    found = [str(dict(block.args)["attention"]) for block in spec.blocks if block.kind == "spab"]
    return found[-1] if found else None


def match(num_ours: int, num_theirs: int, *, at_end: bool) -> list[int | None]:
    """The parent's block, from 1, of each block of a child (SPABs, and a stack before them).

    Fewer blocks are the first and the last ones: released SPAN and SPANF lose least without their middle
    (SPAN: 27.64 dB, the mean of Set5 and Set14, for blocks 1, 2, 5, 6 of six, 26.79 to 27.56 for any other
    four). More blocks are all, with new ones (None) before the last, whose inner feature may be tapped, or at
    the end.
    """
    if num_ours <= num_theirs:
        first, last = (num_ours + 1) // 2, num_ours // 2
        return [*range(1, first + 1), *range(num_theirs - last + 1, num_theirs + 1)]
    body: list[int | None] = list(range(1, num_theirs + 1))
    place = num_theirs if at_end or num_theirs == 1 else num_theirs - 1
    return body[:place] + [None] * (num_ours - num_theirs) + body[place:]


class Plan:
    """Answers for a walk. Blocks and stages are numbered as in the child; stage 0 is the stem."""

    def __init__(self, teacher: Teacher, spec: ArchSpec) -> None:
        self.teacher = teacher
        self.spec = spec
        self.theirs = teacher.spec
        has_end = spec.blocks[-1].kind == "conv"
        self._check(has_end)
        self.num_blocks = len(spec.blocks) - has_end
        self._num_theirs = len(self.theirs.blocks) - has_end
        at_end = _attention(spec) in CLOSED
        self._sources = match(self.num_blocks, self._num_theirs, at_end=at_end)
        self._outputs = self._find_outputs()
        self._widths = {
            part.name: int(dict(part.block.args).get("channels", 0)) for part in parts(spec)
        }
        self._downs = self._share_channels()

    def _check(self, has_end: bool) -> None:
        ours, theirs = self.spec, self.theirs
        for name, a, b in (
            ("scale", ours.scale, theirs.scale),
            ("stem", ours.stem is None, theirs.stem is None),
            ("first block", ours.blocks[0].kind, theirs.blocks[0].kind),
            ("last block", has_end, theirs.blocks[-1].kind == "conv"),
        ):
            if a != b:
                raise ValueError(
                    f"{name} of a child must be its parent's to inherit weights, got {a!r} for {b!r}; take a "
                    "parent of the same space"
                )

    def source(self, i: int) -> int | None:
        """The parent's block of block i, None for a new one."""
        return self._sources[i - 1] if i <= self.num_blocks else self._num_theirs + 1

    def output(self, stage: int) -> str:
        """The parent's feature that block i, or the stem, is to give: what the next matched block takes."""
        return self._outputs[stage]

    def trunk(self, stage: int) -> Tensor:
        """The channels of that feature that are kept: `down` of a View."""
        return self._downs[stage]

    def last(self) -> Tensor:
        """`down` of the convolution after the blocks: no activation follows, so any combination does."""
        name = f"block{self._num_theirs + 1}"
        rows = self.teacher.features[name]
        ours = self._widths[f"block{self.num_blocks + 1}"]
        readers = self._fusion_readers(name)
        return (
            project(rows, torch.cat(readers), ours) if readers else torch.eye(rows.shape[1])[:ours]
        )

    def inner_uses(self, block: str, name: str, reader: nn.Module) -> list[Use]:
        """How an activated convolution of a block is used."""
        kernels: tuple[Tensor, ...] = (convolution(reader).weight,)
        if name == "inner":
            kernels = (*kernels, *self._fusion_readers(f"{block}.inner"))
        return [Use(rows=self.teacher.features[f"{block}.{name}"], kernels=kernels)]

    def _find_outputs(self) -> list[str]:
        outputs = []
        for stage in range(self.num_blocks + 1):
            following = [source for source in self._sources[stage:] if source]
            number = following[0] - 1 if following else self._num_theirs
            outputs.append(f"block{number}" if number else "stem")
        return outputs

    def _share_channels(self) -> list[Tensor]:
        """Stages that an identity links keep the same channels."""
        ours = [self._widths.get("stem", -1)] + [
            self._widths[f"block{i}"] for i in range(1, self.num_blocks + 1)
        ]
        rows = self.teacher.features
        first = 0 if self.spec.stem else 1
        downs = [torch.zeros(0)] * first
        while first <= self.num_blocks:
            last = first
            while last < self.num_blocks and ours[last + 1] == ours[first] and self._linked(last):
                last += 1
            names = dict.fromkeys(self.output(stage) for stage in range(first, last + 1))
            uses = [Use(rows=rows[name], kernels=self._trunk_readers(name)) for name in names]
            downs += [choose(uses, ours[first])] * (last + 1 - first)
            first = last + 1
        return downs

    def _linked(self, stage: int) -> bool:
        """Whether the parent keeps its channels from this stage's feature to the next stage's."""
        names = ["stem"] + [f"block{i}" for i in range(1, self._num_theirs + 1)]
        begin, end = names.index(self.output(stage)), names.index(self.output(stage + 1))
        between = [self.teacher.net.blocks[str(i)] for i in range(begin + 1, end + 1)]
        return all(
            isinstance(block, SPAB) and isinstance(block.shortcut, nn.Identity) for block in between
        )

    def _trunk_readers(self, name: str) -> tuple[Tensor, ...]:
        number = 1 if name == "stem" else int(name.removeprefix("block")) + 1
        found: list[Tensor] = []
        blocks = self.teacher.net.blocks
        if str(number) in blocks:
            block = blocks[str(number)]
            first = block.conv1 if isinstance(block, SPAB) else block
            found.append(convolution(first).weight)
        return (*found, *self._fusion_readers(name))

    def _fusion_readers(self, name: str) -> tuple[Tensor, ...]:
        """The part of the head's kernel over a tapped feature; a separable head's as one dense kernel."""
        net = self.teacher.net
        fusion = convolution(net.fusion).weight
        if dict(self.theirs.fusion.args).get("channels") is None:
            fusion = convolution(net.upsampler.conv).weight * fusion.transpose(0, 1)
        start = 0
        for tap in self.theirs.taps:
            width = (
                3 * self.theirs.scale**2 if tap == "skip" else self.teacher.features[tap].shape[1]
            )
            if tap == name:
                return (fusion[:, start : start + width],)
            start += width
        return ()
