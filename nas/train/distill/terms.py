"""What a network learns from a teacher: its images, its features, their affinities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from nas.losses.base import Loss, Weight, check_weight
from nas.train.distill.affinity import affinity_distance, squared_affinity_distance

MOST_POSITIONS = 32  # a side; at 64x64 one matrix of affinities would take 67 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a network gives for a batch.

    Attributes:
        image: (N, 3, H, W).
        features: (N, C, h, w) by layer, named as an architecture's taps: stem, block1, ...
    """

    image: Tensor
    features: Mapping[str, Tensor]


Adapters = Mapping[tuple[str, str], nn.Module]  # by a layer of the network and one of the teacher


class DistillTerm(Protocol):
    """Compares a network with its teacher on one batch."""

    @property
    def weight(self) -> Weight:
        """The term's factor in the sum of losses, as of `Loss`."""
        ...

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Layers of the network and of the teacher that it compares; empty: images alone."""
        ...

    @property
    def adapts(self) -> bool:
        """Whether each layer of the network goes through a 1x1 convolution to the teacher's width.

        It is trained with the network and dropped at the end.
        """
        ...

    def __call__(self, student: Pass, teacher: Pass, adapters: Adapters) -> Tensor:
        """Return the term, a scalar; `adapters` are by pair of layers."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A loss of the network's image against the teacher's.

    With nas.losses.edges.Laplacian it is edge distillation.
    """

    loss: Loss

    @property
    def weight(self) -> Weight:
        return self.loss.weight

    @property
    def layers(self) -> list[tuple[str, str]]:
        return []

    @property
    def adapts(self) -> bool:
        return False

    def __call__(self, student: Pass, teacher: Pass, adapters: Adapters) -> Tensor:
        return self.loss(student.image, teacher.image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The mean squared difference of features, through adapters.

    Attributes:
        layers: pairs of a layer of the network and one of the teacher.

    Source: Romero et al., FitNets, ICLR 2015.
    """

    weight: Weight
    layers: list[tuple[str, str]]

    def __post_init__(self) -> None:
        check_weight("Features", self.weight)
        _check_layers("Features", self.layers)

    @property
    def adapts(self) -> bool:
        return True

    def __call__(self, student: Pass, teacher: Pass, adapters: Adapters) -> Tensor:
        terms = [
            F.mse_loss(adapters[ours, theirs](student.features[ours]), teacher.features[theirs])
            for ours, theirs in self.layers
        ]
        return sum(terms[1:], terms[0]) / len(terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """The difference of spatial affinities; widths of the two networks may differ.

    Attributes:
        layers: pairs of a layer of the network and one of the teacher, of equal height and width.
        rho: absolute takes matrices of at most 32 x 32 positions, square all positions exactly.
    """

    weight: Weight
    layers: list[tuple[str, str]]
    rho: Literal["absolute", "square"]

    def __post_init__(self) -> None:
        check_weight("Affinity", self.weight)
        _check_layers("Affinity", self.layers)

    @property
    def adapts(self) -> bool:
        return False

    def __call__(self, student: Pass, teacher: Pass, adapters: Adapters) -> Tensor:
        terms = []
        for ours, theirs in self.layers:
            a, b = student.features[ours], teacher.features[theirs]
            if self.rho == "square":
                terms.append(squared_affinity_distance(a, b))
            else:
                terms.append(affinity_distance(a, b, most=MOST_POSITIONS))
        return sum(terms[1:], terms[0]) / len(terms)


def _check_layers(name: str, layers: list[tuple[str, str]]) -> None:
    if not layers:
        raise ValueError(f"{name}: layers is empty; name pairs such as [block1,block1]")
