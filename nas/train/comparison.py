"""A network beside what it is compared with: a batch goes in, each loss comes out."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nas.losses.base import Loss, widen
from nas.train.distill.imitation import Imitation
from nas.train.distill.terms import Pass
from nas.train.speed.config import Speed
from search_spaces.network import Network


class Comparison(nn.Module):
    """All of a step that has gradients, as one module, whose gradients processes can share.

    Args:
        net: that is trained.
        losses: of its image against HR, by name.
        base: (N, 3, h, w) -> (N, 3, scale h, scale w), which the network's output is added to;
            None: it gives whole images.
        imitation: of a teacher; None: there is none.
        speed: how networks are computed; losses are always in float32, as they are written.
    """

    def __init__(
        self,
        net: Network,
        losses: Mapping[str, Loss],
        *,
        base: Callable[[Tensor], Tensor] | None,
        imitation: Imitation | None,
        speed: Speed,
    ) -> None:
        super().__init__()
        self.net = net
        self.losses = dict(losses)
        self.base = base
        self.imitation = imitation
        self.speed = speed
        self._pass_batch = speed.compile(self.pass_batch)

    def forward(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Return each loss before its weight, scalars.

        Args:
            lr: (N, 3, h, w).
            hr: (N, 3, scale h, scale w).
        """
        student, teacher = self._pass_batch(lr)
        terms = {name: loss(student.image, hr) for name, loss in self.losses.items()}
        if self.imitation and teacher:
            terms |= self.imitation.compare(student, teacher)
        return terms

    def pass_batch(self, lr: Tensor) -> tuple[Pass, Pass | None]:
        """Return what the network and its teacher give for a batch, in float32."""
        x = lr.contiguous(memory_format=torch.channels_last)
        layers = self.imitation.student_layers if self.imitation else ()
        with torch.autocast(x.device.type, dtype=self.speed.dtype, enabled=self.speed.is_half):
            out, features = self.net.forward_with_features(x, layers)
            teacher = self.imitation.ask_teacher(x) if self.imitation else None

        # A residual network's image is the base and what it adds.
        student = _widen_pass(Pass(image=out, features=features))
        if self.base is not None:
            student = Pass(image=student.image + self.base(lr), features=student.features)
        return student, _widen_pass(teacher) if teacher else None


def _widen_pass(given: Pass) -> Pass:
    """Return what a network gave, half floats as float32."""
    features = {name: widen(feature) for name, feature in given.features.items()}
    return Pass(image=widen(given.image), features=features)
