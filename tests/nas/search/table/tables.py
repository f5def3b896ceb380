"""A made-up table whose PSNR follows from sizes by formula, with the noise of seeds."""

import dataclasses
import math
import random

from nas.search.table.contents import TableContents
from nas.search.table.entries import Entry, Facts, Training
from nas.search.table.table import Table
from tests.nas.search.studies import CHALLENGE, cost_of, latency_of, small_space

SIZES = ("8x1", "12x1", "12x2", "16x2")
FIDELITIES = (10, 20, 40)
SPACE = small_space(taps=["all"])
GATE = dataclasses.replace(CHALLENGE, gate=dataclasses.replace(CHALLENGE.gate, min_gain_db=-0.2))


def contents(**changes):
    values = {
        "ladder_sizes": SIZES,
        "num_seeds": 3,
        "num_repeated": 8,
        "scale": 4,
        "seed": 0,
    } | changes
    return TableContents.of(SPACE, **values)


def training_of(spec, seed, noise):
    rng = random.Random(f"{spec.arch_id} {seed}")
    psnr = 22 + 0.5 * math.log(cost_of(spec).params) + 0.05 * ("silu" in spec.to_json())
    curve = tuple((steps, psnr - 2 / steps + rng.gauss(0, noise)) for steps in FIDELITIES)
    return Training(curve=curve, train_seconds=4.0, restarts=0)


def timed(spec, reference):
    base = latency_of(reference).runtime_ms
    return dataclasses.replace(
        latency_of(spec), baseline_ms=base, ratio=latency_of(spec).runtime_ms / base, ci=0.01
    )


def table(noise=0.01, **changes):
    made = contents(**changes)
    entries = {
        name: Entry(
            spec=spec,
            cost=cost_of(spec),
            latency=timed(spec, made.baseline),
            measure_seconds=0.5,
            trainings=tuple(
                training_of(spec, seed, noise) for seed in range(3 if name in made.repeated else 1)
            ),
        )
        for name, spec in made.members.items()
    }
    facts = Facts(
        scale=4,
        ladder_sizes=SIZES,
        fidelities=FIDELITIES,
        base_db=25.0,
        conditions=next(iter(entries.values())).latency.conditions,
        settings={"chosen_space": "space=small"},
        environment={"cpu": "stub"},
    )
    return Table(facts=facts, entries=entries)
