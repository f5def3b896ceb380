"""Searches by other libraries, which are asked for by name alone and need not be installed."""

import importlib.util
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
import torch

from nas.analysis.pareto import front
from nas.record import TrialRecord
from nas.search.evaluation.requests import TrialRequest
from nas.search.model.candidates import Candidates, Point
from nas.search.model.decisions import IndexChooser, read_decisions
from nas.search.table.evaluator import TableEvaluator
from search_spaces.chooser import Space

SYNE_TUNE = "pip install --no-deps syne-tune dill psutil"  # all that it asks for has 350 MB of CUDA
LIBRARIES = {  # of each method: what it imports, and how that is installed
    "moasha": ("syne_tune", SYNE_TUNE),
    "moasha_ranked": ("syne_tune", SYNE_TUNE),
    "botorch_known": ("botorch", "pip install -c constraints.txt botorch"),
}
MOST_SUGGESTIONS = 3  # a member of a table; then a search is given up
NUM_DRAWN = 2000  # candidates of a proposal, beside the neighbours of the best
BLOCK = 250  # candidates that are looked at at once


def lacking(methods: Iterable[str]) -> str:
    """What is not installed of the libraries that methods need, in one line; empty: nothing."""
    absent = {
        method: LIBRARIES[method]
        for method in methods
        if method in LIBRARIES and importlib.util.find_spec(LIBRARIES[method][0]) is None
    }
    return "; ".join(
        f"{method} needs {name}: {install}" for method, (name, install) in absent.items()
    )


def moasha(
    space: Space,
    evaluator: TableEvaluator,
    look: Callable[[Mapping[int, TrialRecord]], None],
    *,
    seed: int,
    is_ranked: bool,
) -> None:
    """Search a table by Syne Tune's MOASHA with one worker, until `look` raises or it is given up.

    With its defaults: one bracket, a grace period of one, here the table's first fidelity, and a
    reduction factor of 3. On a table read at 1, 2, 4, 8 and 16 of these its rungs are 1, 3 and 9: a
    training is judged when it reports 1 and 4. What it proposes again begins anew for it, but steps
    are paid once: those that the network has been trained for are known.

    Args:
        look: called with the records so far, by number, after each reading; number 0 is the
            baseline's.
        is_ranked: whether its priorities are ranks. As it ships (0.16.0), its non-dominated sort
            gives the order of the rows where the rank of each row is meant.
    """
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import choice
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import (
        NonDominatedPriority,
    )

    class Ranked(NonDominatedPriority):
        def priority_unsafe(self, objectives: np.ndarray) -> np.ndarray:
            return np.argsort(super().priority_unsafe(objectives))

    np.random.seed(seed)  # the generator that it draws configurations from
    unit, top = evaluator.fidelities[0], evaluator.fidelities[-1]
    configurations = {
        decision.name: choice(list(range(decision.num_options)))
        for decision in read_decisions(space)
    }
    scheduler = MOASHA(
        configurations,
        metrics=["loss_db", "runtime_ratio"],
        time_attr="units",
        max_t=top // unit,
        multiobjective_priority=Ranked() if is_ranked else NonDominatedPriority(),
        random_seed=seed,
    )
    numbers = {evaluator.table.baseline.arch_id: 0}
    records: dict[int, TrialRecord] = {}
    for place in range(MOST_SUGGESTIONS * len(evaluator.table.entries)):
        config = scheduler.suggest().config
        spec = space.sample(IndexChooser(config))
        number = numbers.setdefault(spec.arch_id, len(numbers))
        trial = Trial(trial_id=place, config=config, creation_time=datetime.now())
        scheduler.on_trial_add(trial)
        for steps in evaluator.fidelities:
            request = TrialRequest(number=number, spec=spec, until=steps, reference_db=None)
            record = evaluator.trial(request, None, lambda words: None)
            before = records.get(number)
            if before is None or before.quality is None or before.quality.fidelity < steps:
                records[number] = record
                look(records)
            if record.quality is None or record.latency is None:  # it failed
                break
            result = {
                "units": steps // unit,
                "loss_db": -record.quality.psnr_db,
                "runtime_ratio": record.latency.ratio,
            }
            if scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                break
        scheduler.on_trial_remove(trial)


def botorch_known(
    candidates: Candidates,
    trained: Sequence[Point],
    psnr_db: Sequence[float],
    *,
    corner: tuple[float, float],
    startup: int,
    seed: int,
) -> Point:
    """Choose the next point by BoTorch's noisy expected hypervolume improvement, runtimes known.

    PSNR is a Gaussian process with BoTorch's defaults over what cost_aware_known sees, the
    logarithm of the runtime among it; runtime is a deterministic model. The acquisition (qLogNEHVI,
    a batch of one) is looked at on untried candidates: 2,000 drawn for each suggestion, and all
    that differ in one decision from a network of the front. It starts with the points that
    cost_aware starts with.

    Args:
        candidates: their costs are their runtime alone.
        corner: the reference point, (PSNR, runtime): the one by which searches are judged, which is
            told to no other method.
        startup: points before anything is modelled.
    """
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelList, SingleTaskGP
    from botorch.models.deterministic import GenericDeterministicModel
    from botorch.models.transforms import Normalize
    from botorch.utils.sampling import manual_seed
    from gpytorch.mlls import ExactMarginalLogLikelihood

    if len(trained) < startup:
        return next(point for point in candidates.spread(startup) if point not in trained)

    # Candidates: a sample of what is untried, and what lies around the front.
    (runtime_ratio,) = candidates.costs(trained).values()
    signed = np.column_stack([-np.array(psnr_db), runtime_ratio])
    best = [trained[place] for place in np.flatnonzero(front(signed))]
    tried = set(trained)
    untried = [point for point in candidates.list_points(()) if point not in tried]
    drawn = random.Random(seed).sample(untried, min(NUM_DRAWN, len(untried)))
    near = [
        neighbour
        for point in best
        for neighbour in candidates.neighbours(point)
        if neighbour not in tried
    ]
    points = list(dict.fromkeys([*drawn, *near]))

    # Inputs are scaled by the range of all that is looked at.
    inputs, asked = (torch.from_numpy(candidates.encode(rows)) for rows in (trained, points))
    every = torch.cat([inputs, asked])
    with manual_seed(seed):
        bounds = torch.stack([every.amin(dim=0), every.amax(dim=0)])
        scaled = Normalize(inputs.shape[1], bounds=bounds)
        outputs = torch.tensor(psnr_db, dtype=torch.float64)[:, None]
        process = SingleTaskGP(inputs, outputs, input_transform=scaled)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(process.likelihood, process))

        # The last column of the inputs is the runtime's logarithm.
        runtime = GenericDeterministicModel(lambda x: -x[..., -1:].exp())
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            ModelList(process, runtime),
            ref_point=[corner[0], -corner[1]],
            X_baseline=inputs,
            prune_baseline=True,
        )
        with torch.no_grad():
            values = torch.cat([acquisition(block[:, None]) for block in asked.split(BLOCK)])
    return points[int(values.argmax())]
