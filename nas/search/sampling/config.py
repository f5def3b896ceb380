"""Which sampler proposes: what conf/sampler/*.yaml builds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.search.sampling.decisions import Distributions
from nas.search.sampling.evolution import Evolution
from nas.search.sampling.proposer import Proposer, Seen
from nas.search.sampling.sampler import ProposerSampler
from nas.search.sampling.stock import stock_sampler

Look = Callable[[Sequence[FrozenTrial]], list[Seen]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """Which sampler proposes.

    Attributes:
        kind: cost_aware, evolution, nsga2, tpe, gp or random.
        population: of nsga2 and evolution; null: a quarter of the trials asked for at first, from 8 to 50.
        startup: networks that are spread over the space (cost_aware) or drawn at random before a model
            proposes; null: 6 for cost_aware, the population for evolution, else 10.
        screen: of cost_aware: a candidate is not trained where its PSNR would have to exceed what is
            expected by more than so many standard deviations; null: all are trained.
    """

    kind: Literal["cost_aware", "evolution", "nsga2", "tpe", "gp", "random"]
    population: int | None
    startup: int | None
    screen: float | None

    def __post_init__(self) -> None:
        if self.population is not None and self.population < 2:
            raise ValueError(f"sampler.population must be at least 2, got {self.population}")
        if self.startup is not None and self.startup < 1:
            raise ValueError(f"sampler.startup must be at least 1, got {self.startup}")
        if self.screen is not None and not self.screen > 0:
            raise ValueError(f"sampler.screen must be above 0, got {self.screen:g}; 3 is usual, null is none")

    def make(
        self, *, seed: int, population: int, space: Distributions, proposer: Proposer, look: Look
    ) -> BaseSampler:
        """A sampler whose draws follow from `seed` and the study alone; `space` holds every decision."""
        if self.kind == "cost_aware":
            return ProposerSampler(proposer, look, startup=self.startup or 6, seed=seed)
        if self.kind == "evolution":
            alive = self.population or population
            chooser = Evolution(proposer, alive)
            return ProposerSampler(chooser, look, startup=self.startup or alive, seed=seed)
        return stock_sampler(
            self.kind,
            space,
            population=self.population or population,
            startup=self.startup or 10,
            seed=seed,
        )


def default_population(trials: int) -> int:
    """A population that gets some generations out of the trials asked for."""
    return min(50, max(8, trials // 4))
