"""A teacher beside a training: what it gives for each batch, and how far the network is from it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nas.losses.base import weight_at
from nas.train.distill.terms import DistillTerm, Pass
from search_spaces.network import Network


class Imitation(nn.Module):
    """Compares a network with a teacher, whose weights never change.

    Where a term adapts features, `fit_adapters` has to be called before the first batch.

    Args:
        teacher: (N, 3, H, W) -> (N, 3, scale H, scale W), in evaluation mode on the device.
        terms: what is compared, by name.
    """

    def __init__(self, teacher: nn.Module, terms: Mapping[str, DistillTerm]) -> None:
        super().__init__()
        # In a tuple: the teacher is none of the parts that are trained and saved here.
        self._teacher = (teacher,)
        self.terms = dict(terms)
        self.pairs = sorted({(a, b) for term in terms.values() for a, b in term.layers})
        self.student_layers = sorted({ours for ours, _ in self.pairs})
        self.teacher_layers = sorted({theirs for _, theirs in self.pairs})
        self.adapters = nn.ModuleDict()

    @torch.no_grad()
    def fit_adapters(self, net: Network, x: Tensor, *, seed: int) -> None:
        """Make the adapters for the widths of two networks, and check the layers.

        Args:
            x: a batch of LR patches on the device.
            seed: of the adapters' start.
        Raises:
            ValueError: a term names a layer that one of the two does not have, or layers of unequal
                height and width.
        """
        _, ours = net.forward_with_features(x, self.student_layers)
        theirs = self.ask_teacher(x).features
        for name, term in self.terms.items():
            for student_layer, teacher_layer in term.layers:
                a, b = ours[student_layer], theirs[teacher_layer]
                if a.shape[-2:] != b.shape[-2:]:
                    raise ValueError(
                        f"distill.{name}: {student_layer} and {teacher_layer} have unequal sizes, "
                        f"{tuple(a.shape[-2:])} and {tuple(b.shape[-2:])}; name other layers"
                    )
                if term.adapts:
                    self.adapters[_key(student_layer, teacher_layer)] = _make_adapter(a, b, seed)

    @property
    def has_parameters(self) -> bool:
        return len(self.adapters) > 0

    def compare(self, student: Pass, teacher: Pass) -> dict[str, Tensor]:
        """Return each term for a batch, before its weight.

        Args:
            student: what the network gave for it.
            teacher: what `ask_teacher` gives for it.
        """
        adapters = {
            pair: self.adapters[_key(*pair)] for pair in self.pairs if _key(*pair) in self.adapters
        }
        return {name: term(student, teacher, adapters) for name, term in self.terms.items()}

    def weights_at(self, share: float) -> dict[str, float]:
        """Return the weight of each term at a share of the stage."""
        return {name: weight_at(term.weight, share) for name, term in self.terms.items()}

    @torch.no_grad()
    def ask_teacher(self, x: Tensor) -> Pass:
        """Return what the teacher gives for a batch.

        Args:
            x: the LR patches, (N, 3, h, w).
        """
        (teacher,) = self._teacher
        if not self.teacher_layers:
            return Pass(image=teacher(x), features={})
        if not isinstance(teacher, Network):
            raise ValueError(
                f"the teacher is a {type(teacher).__name__}, which has no layers that are known "
                "here; distil its output, or take a teacher that is given by its architecture"
            )
        image, features = teacher.forward_with_features(x, self.teacher_layers)
        return Pass(image=image, features=features)


def _key(ours: str, theirs: str) -> str:
    """Return two layers' names as a module may be called, without dots."""
    return f"{ours} to {theirs}".replace(".", "_")


def _make_adapter(ours: Tensor, theirs: Tensor, seed: int) -> nn.Module:
    """Return a 1x1 convolution from the width of our features to theirs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Conv2d(ours.shape[1], theirs.shape[1], 1).to(ours.device)
