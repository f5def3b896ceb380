"""How many steps fit into an hour: stages are shortened alike to what the time allows."""

import time
from collections.abc import Sequence

from nas.train.recipe.config import Recipe
from nas.train.trainer import StageTrainer

NUM_WARM, NUM_TIMED = 2, 6  # steps of each stage
SPARE = 0.03  # share of the time for checkpoints and for what comes after the last step


def fit_recipe(
    recipe: Recipe,
    hours: float,
    *,
    spent: float,
    seconds_per_step: Sequence[float],
    validation_seconds: float,
    validations: int,
) -> Recipe:
    """Return the recipe with as many steps as fit into some time; stages keep their shares.

    Args:
        spent: seconds of the time that are over.
        seconds_per_step: of each stage, in the recipe's order.
        validation_seconds: of one validation.
        validations: of each stage.
    Raises:
        ValueError: the time is too short for a step a stage.
    """
    stages = list(recipe.stages.values())
    num_segments = sum(stage.repeats for stage in stages)
    left = (hours * 3600 - spent) * (1 - SPARE) - validation_seconds * validations * num_segments
    total = sum(stage.steps * stage.repeats for stage in stages)
    mean = (
        sum(
            pace * stage.steps * stage.repeats
            for pace, stage in zip(seconds_per_step, stages, strict=True)
        )
        / total
    )
    steps = int(left / mean)
    if steps < num_segments:
        raise ValueError(
            f"hours={hours:g} is too short: a step takes {mean:.2g} s and a validation "
            f"{validation_seconds:.2g} s; give more hours or fewer validations"
        )
    return recipe.scaled(min(steps, total))


def time_steps(trainer: StageTrainer) -> float:
    """Return the seconds that a step takes, on a trainer that is thrown away."""
    for _ in range(NUM_WARM):
        trainer.step()
    start = time.perf_counter()
    for _ in range(NUM_TIMED):
        trainer.step()
    return (time.perf_counter() - start) / NUM_TIMED
