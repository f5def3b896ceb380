"""A space's decisions as Optuna knows them: parameters that are indices into the options."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.chooser import S, Space, decisions
from search_spaces.spec import Scalar

Distributions = Mapping[str, BaseDistribution]

MAX_DRAWS = 1000
MAX_LISTED = 100_000  # points of a space that is small: all of them are known


class TrialChooser:
    """Asks an Optuna trial for every decision: an index into the options.

    Rising numbers are asked as an integer, so that models see their order; the rest as a category.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def pick(self, name: str, options: Sequence[S]) -> S:
        if is_ordinal(options):
            return options[self.trial.suggest_int(name, 0, len(options) - 1)]
        return options[self.trial.suggest_categorical(name, list(range(len(options))))]


class IndexChooser:
    """Picks by index, as the parameters of an Optuna trial say."""

    def __init__(self, params: Mapping[str, int]) -> None:
        self.params = params

    def pick(self, name: str, options: Sequence[S]) -> S:
        return options[self.params[name]]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """What `TrialChooser` asks of a trial, by decision."""
    return {
        name: IntDistribution(0, len(options) - 1)
        if is_ordinal(options)
        else CategoricalDistribution(range(len(options)))
        for name, options in decisions(space).items()
    }


def draws(space: Distributions, rng: random.Random) -> Iterator[dict[str, int]]:
    """Random parameters: all there are, each once, of a small space; a thousand of a large one."""
    sizes = [num_options(distribution) for distribution in space.values()]
    if math.prod(sizes) <= MAX_LISTED:
        listed = list(itertools.product(*map(range, sizes)))
        rng.shuffle(listed)
        yield from (dict(zip(space, indices, strict=True)) for indices in listed)
    else:
        for _ in range(MAX_DRAWS):
            yield {name: rng.randrange(size) for name, size in zip(space, sizes, strict=True)}


def num_options(distribution: BaseDistribution) -> int:
    if isinstance(distribution, IntDistribution):
        return distribution.high + 1
    assert isinstance(distribution, CategoricalDistribution)
    return len(distribution.choices)


def is_ordinal(options: Sequence[Scalar]) -> bool:
    numbers = [o for o in options if isinstance(o, int | float) and not isinstance(o, bool)]
    return len(numbers) == len(options) and numbers == sorted(numbers)
