"""What makes the steps of a stage faster on this device, found by trying it on a copy."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from nas.train.speed.config import PLAIN, Speed
from nas.train.team import SOLO, Team
from nas.train.trainer import StageTrainer

NUM_WARM, NUM_TIMED = 3, 12  # steps of a trial, for each shape of patches
SHORT_SECONDS = 60.0  # a stage that takes less is not worth a trial
COMPILED_SECONDS = 600.0  # nor is a compilation for one that takes less
LEAST_GAIN = 1.05  # times as fast, over the whole stage: less may be chance
MOST_ERROR = (
    0.2  # of an image, as a share of its distance from HR; a squared error grows by 4 % then
)
MOST_DRIFT = 0.03  # of the losses of the trial on the whole, as a share of theirs
FLOOR = 1e-12  # of a loss
FIRST_WITH_BFLOAT16 = 8  # compute capability of the first GPUs that have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Some steps of a stage under one choice.

    Attributes:
        begin_seconds: of the first steps, in which kernels are compiled.
        step_seconds: of each later one.
        losses: of all steps.
    """

    speed: Speed
    begin_seconds: float
    step_seconds: float
    losses: tuple[float, ...]

    def estimate_seconds(self, steps: int) -> float:
        """Return what a stage of so many steps takes."""
        return self.begin_seconds + steps * self.step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        gain: how many times as fast a step is as a plain one.
        reasons: why others were not, by their words.
    """

    speed: Speed
    gain: float = 1.0
    reasons: tuple[str, ...] = ()


def list_candidates(device: torch.device) -> list[Speed]:
    """Return what may be faster than a plain step on a device; on a CPU nothing is.

    There half floats are emulated or slower for such small convolutions, and what a compilation
    saves is less than it takes.
    """
    if device.type != "cuda":
        return []
    major, _ = torch.cuda.get_device_capability(device)
    half = Speed(precision="bfloat16" if major >= FIRST_WITH_BFLOAT16 else "float16")
    compiled = [Speed(compiled=True), Speed(precision=half.precision, compiled=True)]
    return [half, *compiled, *(replace(speed, graphs=True) for speed in compiled)]


def choose_speed(
    open_trainer: Callable[[Speed], StageTrainer],
    candidates: Sequence[Speed],
    *,
    steps: int,
    team: Team = SOLO,
) -> Choice:
    """Return the candidate that is fastest over a whole stage, and still trains the same network.

    Args:
        open_trainer: makes a trainer of the same start each time, which is thrown away.
        candidates: beside plain steps.
        steps: of the stage.
        team: the processes that train together, and decide alike.
    """
    plain_trainer = open_trainer(PLAIN)
    image, error = _make_image(plain_trainer)
    plain = try_speed(plain_trainer, PLAIN)
    seconds = team.share(plain.step_seconds) * steps

    best, reasons = plain, []
    for speed in candidates:
        if seconds < (COMPILED_SECONDS if speed.compiled else SHORT_SECONDS):
            continue
        # What cannot be compiled here, or diverges, is left out: the plain way is always there.
        try:
            trainer = open_trainer(speed)
            distance = float((_make_image(trainer)[0] - image).abs().mean())
            trial = try_speed(trainer, speed)
        except RuntimeError as fault:
            reasons.append(f"{speed}: {' '.join(str(fault).split())[:100]}")
            continue
        reason = _judge_trial(trial, plain, distance / error if error else 0.0)
        reason, trial = team.share((reason, trial))
        if reason:
            reasons.append(f"{speed}: {reason}")
        elif trial.estimate_seconds(steps) < best.estimate_seconds(steps):
            best = trial

    gain = team.share(plain.step_seconds / best.step_seconds)
    is_faster = plain.estimate_seconds(steps) > LEAST_GAIN * best.estimate_seconds(steps)
    speed = team.share(best.speed if is_faster else PLAIN)
    return Choice(speed=speed, gain=gain, reasons=tuple(reasons))


def try_speed(trainer: StageTrainer, speed: Speed) -> Trial:
    """Take some steps and time them."""
    num_shapes = len(trainer.shapes)
    begin = time.perf_counter()
    losses = [trainer.step() for _ in range(NUM_WARM * num_shapes)]
    _synchronise(trainer.device)
    middle = time.perf_counter()
    losses += [trainer.step() for _ in range(NUM_TIMED * num_shapes)]
    _synchronise(trainer.device)
    step_seconds = (time.perf_counter() - middle) / (NUM_TIMED * num_shapes)
    return Trial(
        speed=speed,
        begin_seconds=middle - begin,
        step_seconds=step_seconds,
        losses=tuple(losses),
    )


def describe_choice(choice: Choice) -> str:
    """Say what was chosen, on one line.

    Example:
        >>> describe_choice(Choice(speed=Speed(precision="bfloat16", compiled=True), gain=1.84))
        'training in bfloat16, compiled: 1.8 times as fast as plain steps'
    """
    if choice.speed == PLAIN:
        reasons = f" ({'; '.join(choice.reasons)})" if choice.reasons else ""
        return f"training in float32: nothing that was tried is faster{reasons}"
    return f"training {choice.speed}: {choice.gain:.1f} times as fast as plain steps"


def _judge_trial(trial: Trial, plain: Trial, image_error: float) -> str:
    """Say why a trial does not train the same network; empty: it does.

    Args:
        image_error: of its first image, as a share of that image's distance from HR.
    """
    if not image_error <= MOST_ERROR:
        return f"its images differ by {image_error:.0%} of their error"
    # On the whole: single steps of two trainings differ soon, whatever the first difference was.
    drift = abs(sum(trial.losses) / max(sum(plain.losses), FLOOR) - 1)
    return "" if drift <= MOST_DRIFT else f"its losses differ by {drift:.0%}"


@torch.no_grad()
def _make_image(trainer: StageTrainer) -> tuple[torch.Tensor, float]:
    """Return the network's image of the first batch, and its mean distance from HR."""
    lr, hr = trainer.batches.batch(0, trainer.stage.patches.batch_size, trainer.shapes[0])
    lr, hr = lr.to(trainer.device), hr.to(trainer.device)
    image = trainer.comparison.pass_batch(lr)[0].image
    return image, float((image - hr).abs().mean())


def _synchronise(device: torch.device) -> None:
    """Wait until a device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
