"""Optuna's samplers as we use them propose what Optuna's own rules say."""

import optuna
import pytest
from nas.search.sampling import stock
from nas.search.sampling.stock import stock_sampler
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from tests.nas.search.sampling.landscape import SPACE, quality, runtime


class _Plain(stock._WholeSpace, NSGAIISampler):
    """Optuna's rules, which look at all trials; parents in the order of their numbers."""

    def get_parent_population(self, study, generation):
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


def search(make, count, waiting):
    """Parameters and generations of trials under a sampler made anew for each, some tried at once."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    found, open_ones = [], []
    for place in range(count):
        study.sampler = make(place)
        trial = study.ask(SPACE)
        key = study.sampler._get_generation_key()
        found.append((trial.params, study.get_trials(deepcopy=False)[place].system_attrs[key]))
        open_ones.append(trial)
        if len(open_ones) > waiting:
            one = open_ones.pop(place % len(open_ones))
            if place % 7 == 3:
                study.tell(one, state=TrialState.FAIL)
            else:
                study.tell(one, [quality(one.params), runtime(one.params)])
    return found


@pytest.mark.parametrize("waiting", [0, 3])
def test_nsga2_proposes_what_optuna_does_though_it_reads_the_latest_trials_only(waiting):
    ours = search(lambda seed: stock_sampler("nsga2", SPACE, population=6, startup=0, seed=seed), 70, waiting)
    plain = search(lambda seed: _Plain(SPACE, population_size=6, seed=seed), 70, waiting)
    assert ours == plain
    assert ours[-1][1] >= 5  # generations
