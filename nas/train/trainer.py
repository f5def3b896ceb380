"""One training of one network: the loop that every recipe's stages and every proxy run on."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nas.losses.base import weight_at
from nas.system.faults import ArchitectureError
from nas.train.comparison import Comparison
from nas.train.distill.imitation import Imitation
from nas.train.recipe.config import Stage
from nas.train.speed.config import PLAIN, Speed
from nas.train.team import SOLO, Team
from search_spaces.network import Network, build
from search_spaces.reparam import rep_convs

STEPS_PER_NOTE = 25  # between two notes on how far a training is


class TrainingError(ArchitectureError, RuntimeError):
    """A training failed; `kind` says how, `reason` by what."""

    def __init__(self, kind: Literal["diverged", "stuck"], reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind
        self.reason = reason


class Batches(Protocol):
    """Where training patches come from; a pure function of its arguments."""

    def batch(
        self, step: int, batch_size: int, patch: int | tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return LR (N, 3, h, w) and HR (N, 3, scale h, scale w), float32 in [0, 1].

        Of several processes each gets its share of the batch.
        """
        ...


class StageTrainer:
    """Trains a network through one stage, step by step: between steps it may stop, save or wait.

    The network is changed in place. What a step does depends on the settings, the patches and the
    steps done alone, so that a training that stops goes on to the same bits.

    Args:
        net: of the architecture, in its training form or plain.
        stage: losses, optimizers, schedule and averages.
        batches: the training patches.
        shapes: heights and widths of LR patches; each step takes one of them.
        device: where the network is trained; it is moved there.
        rate: factor of every learning rate.
        base: (N, 3, h, w) -> (N, 3, scale h, scale w), which the network's output is added to;
            None: it gives whole images.
        imitation: of a teacher; None: the stage has none.
        max_loss: a loss over it counts as diverged.
        team: the processes that train the network together, each on its share of the batches; one
            process alone by default.
        speed: in which precision and by what a step is computed; plain by default.

    Attributes:
        done: steps that were taken.
        comparison: gives the losses of a batch; of several processes, of this one's share.
        losses: the last value of each loss, before its weight.
    """

    def __init__(
        self,
        net: Network,
        stage: Stage,
        batches: Batches,
        *,
        shapes: Sequence[tuple[int, int]],
        device: torch.device,
        rate: float = 1.0,
        base: Callable[[Tensor], Tensor] | None = None,
        imitation: Imitation | None = None,
        max_loss: float = math.inf,
        team: Team = SOLO,
        speed: Speed = PLAIN,
    ) -> None:
        self.stage = stage
        self.batches = batches
        self.shapes = list(shapes)
        self.device = device
        self.imitation = imitation
        self.max_loss = max_loss
        self.team = team
        self.done = 0
        self.losses: dict[str, float] = {}

        # Channels last: convolutions run faster on this layout, with equal results.
        net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net: Network = net.train()
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(not stage.is_frozen(name))

        # Before the first copy of the weights: of several processes all take those of the first.
        self.comparison = Comparison(
            self.net, stage.losses, base=base, imitation=imitation, speed=speed
        )
        self._compare = self._join_gradients()
        self._scaler = torch.amp.GradScaler(device.type, enabled=speed.needs_scaler)
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        self._weights = [value.detach() for value in self.net.parameters()]

        self.optimizers = stage.optimizer.make(self.net, rate=rate)
        if imitation and imitation.has_parameters:
            self.optimizers += stage.optimizer.make(imitation, rate=rate)
        self.peaks = [group["lr"] for group in self._parameter_groups()]

    def step(self) -> float:
        """Take one optimizer step and return the loss before it.

        Raises:
            TrainingError: the loss is not finite, or over `max_loss`.
        """
        factor = self.stage.schedule.factor(self.done, self.stage.steps)
        for group, peak in zip(self._parameter_groups(), self.peaks, strict=True):
            group["lr"] = peak * factor
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.comparison.speed.begin_step()

        # Gradients of several batches add up to those of one large batch.
        accumulate = self.stage.patches.accumulate
        loss_value = 0.0
        for part in range(accumulate):
            with self._holding_gradients(is_last=part == accumulate - 1):
                terms = self._compare_batch(part)
                loss = self._sum_terms(terms)
                share = loss if accumulate == 1 else loss / accumulate
                self._scaler.scale(share).backward()  # type: ignore[no-untyped-call]
            # All at once: a GPU is waited for each time that a number is asked for.
            total, *values = torch.stack([loss, *terms.values()]).tolist()
            loss_value += total / accumulate
            self.losses = dict(zip(terms, values, strict=True))
        loss_value, *means = self.team.average([loss_value, *self.losses.values()])
        self.losses = dict(zip(self.losses, means, strict=True))

        # Before the weights change; written so that a loss that is not a number raises too.
        if not loss_value < self.max_loss:
            raise TrainingError("diverged", self._describe_loss(loss_value))
        self._take_optimizer_steps()
        self.done += 1
        self._update_average()
        return loss_value

    def run(
        self,
        until: int,
        *,
        tell: Callable[[str], None] = lambda words: None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """Train until `until` steps are done in all.

        Args:
            until: steps in all, those already done included.
            tell: called now and then with a few words on how far the training is.
            give_way: called before each step; returns when the device may be used again.
        Raises:
            TrainingError: see `step`.
        """
        while self.done < until:
            if self.done % STEPS_PER_NOTE == 0:
                tell(f"training {self.done}/{self.stage.steps}")
            give_way()
            self.step()

    def state(self) -> dict[str, Any]:
        """Return all that changes from step to step; tensors are the trainer's own, not copies."""
        state: dict[str, Any] = {
            "done": self.done,
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "peaks": self.peaks,  # they may follow the weights that the stage began with
        }
        if self.imitation and self.imitation.has_parameters:
            state["adapters"] = self.imitation.state_dict()
        if self._scaler.is_enabled():
            state["scaler"] = self._scaler.state_dict()
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, bit for bit as if the training had not stopped."""
        self.done = state["done"]
        self.peaks = list(state.get("peaks", self.peaks))
        self.net.load_state_dict(state["net"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.imitation and "adapters" in state:
            self.imitation.load_state_dict(state["adapters"])
        if self._scaler.is_enabled() and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])

    def averaged(self) -> Network:
        """Build the plain network with the averaged weights, for evaluation, on the device."""
        is_plain = next(rep_convs(self.net), None) is None
        net = build(self.net.spec, train=not is_plain)
        net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        # A fresh network: training goes on with the current weights.
        net.load_state_dict(self.average)
        averaged: Network = net if is_plain else net.fold()
        return averaged.eval()

    def _join_gradients(self) -> nn.Module:
        """Return what gives the losses of a batch, with gradients of all processes together."""
        if self.team.size == 1:
            return self.comparison
        lr, hr = self.batches.batch(0, self.stage.patches.batch_size, self.shapes[0])
        return self.team.join_gradients(self.comparison, lr.to(self.device), hr.to(self.device))

    def _compare_batch(self, part: int) -> dict[str, Tensor]:
        """Return each loss on one batch of the step, before its weight."""
        stage = self.stage
        number = self.done * stage.patches.accumulate + part
        shape = self.shapes[self.done % len(self.shapes)]
        lr, hr = self.batches.batch(number, stage.patches.batch_size, shape)
        terms: dict[str, Tensor] = self._compare(lr.to(self.device), hr.to(self.device))
        return terms

    @contextlib.contextmanager
    def _holding_gradients(self, *, is_last: bool) -> Iterator[None]:
        """Let several processes add up their gradients once a step, at the last of its batches."""
        if is_last or not isinstance(self._compare, DistributedDataParallel):
            yield
            return
        with self._compare.no_sync():
            yield

    def _take_optimizer_steps(self) -> None:
        """Clip the gradients, and change the weights by them."""
        # Those of half floats were scaled, so that small ones are not lost.
        if self._scaler.is_enabled():
            for optimizer in self.optimizers:
                self._scaler.unscale_(optimizer)
        if self.stage.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.stage.clip)
        for optimizer in self.optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def _sum_terms(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the losses, each times its weight at this step."""
        share = self.done / self.stage.steps
        weights = {name: weight_at(loss.weight, share) for name, loss in self.stage.losses.items()}
        if self.imitation:
            weights |= self.imitation.weights_at(share)

        weighted = [weights[name] * term for name, term in terms.items()]
        return sum(weighted[1:], weighted[0])

    def _describe_loss(self, loss_value: float) -> str:
        """Say which loss was how large, and when."""
        wrong = [name for name, value in self.losses.items() if not math.isfinite(value)]
        named = f" ({', '.join(wrong)})" if wrong else ""
        return f"the loss was {loss_value:.3g} at step {self.done}{named}"

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """List the parameter groups of all optimizers, each with its own learning rate."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _update_average(self) -> None:
        """Draw the averaged weights towards the current ones."""
        # The decay grows from 0.1 to its full value, so that the first steps do not weigh on it.
        decay = min(self.stage.ema, (1 + self.done) / (10 + self.done))
        torch._foreach_lerp_(list(self.average.values()), self._weights, 1 - decay)
