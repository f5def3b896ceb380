"""A search over a stub: what trials would give follows from their specs by formula."""

import math

from nas.analysis.ladder import RUNGS, LadderRun
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import NTIRE2026_WEIGHTS, Baseline, Challenge, Gate
from nas.search.asking import Asker, Exhausted
from nas.search.model.decisions import read_decisions
from nas.search.samplers.cost_aware import CostAware
from nas.search.samplers.evolution import Evolution
from nas.search.samplers.optuna_samplers import GP, NSGA2, TPE
from nas.search.samplers.random import Random
from nas.search.store.journal import open_storage
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.study import Study
from nas.search.store.trials import StudyRules
from search_spaces import published
from search_spaces.spaces.span import SpanSpace

CHALLENGE = Challenge(
    name="stub",
    weights=NTIRE2026_WEIGHTS,
    baseline=Baseline(name="SPAN", device="stub", runtime_ms=7.74, flops=9.83e9, params=0.151e6),
    gate=Gate(valid_db=26.9, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)


def small_space(**changes):
    """2 * 3 * 2 * 2 = 24 networks, if nothing is changed."""
    values = {
        "scale": 4, "entry": ["stem"], "normalise": True, "num_blocks": [1, 2], "channels": [8, 12, 16],
        "block_channels": [1.0], "tail_channels": [1.0], "attention": ["parameter_free", "none"],
        "activation": ["silu", "relu"], "bias": [True], "skip": ["none"], "taps": ["last"], "head": ["conv"],
    }  # fmt: skip
    return SpanSpace(**values | changes)


def wide_space():
    return small_space(
        num_blocks=[1, 2, 3],
        block_channels=[0.75, 1.0, 1.25],
        skip=["none", "near"],
        taps=["all", "ends", "last"],
    )


def cost_of(spec):
    widths = [dict(block.args)["channels"] for block in spec.blocks]
    params = 27 * sum(width**2 for width in widths)
    return Cost(
        params=params,
        flops=65536 * params,
        activations=sum(widths),
        num_conv=len(widths),
        memory_mib=1.0,
    )


def latency_of(spec):
    ratio = (0.1 + cost_of(spec).params / 1e5) * (0.9 if "relu" in spec.to_json() else 1.0)
    return Latency(
        runtime_ms=7.5 * ratio, baseline_ms=7.5, ratio=ratio, ci=0.01, mode="cpu", device="stub",
        dtype="float32", sizes="64x64", threads=1, rounds=15, rejected=0,
    )  # fmt: skip


def quality_of(spec):
    noise = int(spec.arch_id, 16) % 1000 / 1e5
    psnr = 25 + 0.1 * math.log(cost_of(spec).params) + noise
    return Quality(psnr_db=psnr, base_db=25.0, fidelity=10, train_seconds=0.1, restarts=0)


def record_of(proposal, **changes):
    spec = proposal.spec
    parts = {"cost": cost_of(spec), "latency": latency_of(spec), "quality": quality_of(spec)}
    return TrialRecord(
        **{"number": proposal.number, "state": "complete", "spec": spec} | parts | changes
    )


def rejected(proposal, error="limit: params 9 > 1"):
    return record_of(proposal, state="rejected", latency=None, quality=None, error=error)


def failed(proposal, error="ValueError: no"):
    return record_of(proposal, state="failed", quality=None, error=error)


def sampler_of(name):
    """A sampler with a start short enough for tests."""
    return {
        "cost_aware": CostAware(startup=5, screen=3.0),
        "evolution": Evolution(population=4, startup=5),
        "nsga2": NSGA2(population=4),
        "tpe": TPE(startup=5),
        "gp": GP(startup=5),
        "random": Random(),
    }[name]


RULES = ("objectives", "limits", "challenge", "baseline", "ladder_sizes", "ladder_seeds", "num_probes",
         "longer_plan", "planned_trials")  # fmt: skip


def open_search(folder, **changes):
    """An asker, and with it the study over the journal in a folder, made or opened again."""
    values = {
        "objectives": ("psnr_gain_db", "runtime_ratio"), "limits": {}, "challenge": CHALLENGE,
        "baseline": published("span"), "ladder_seeds": 1, "planned_trials": 16, "space": small_space(),
        "seed": 0, "sampler": "nsga2", "goal": "front", "fidelities": (10,), "least_tau": -1.0,
        "inherit": False, "start": (),
    } | changes  # fmt: skip
    study = Study(
        open_storage(folder / JOURNAL),
        StudyRules(**{name: values[name] for name in RULES if name in values}),
        read_decisions(values["space"]),
        start=values["start"],
        start_inherits=0 if values["inherit"] else None,
    )
    sampler = values["sampler"]
    return Asker.over(
        study,
        values["space"],
        sampler_of(sampler) if isinstance(sampler, str) else sampler,
        **{name: values[name] for name in ("goal", "fidelities", "least_tau", "seed", "inherit")},
    )


def climb(study, psnrs=(25.2, 25.4, 25.6, 25.8), seeds=(0,)):
    """Ladder and row 0, as far as they are missing; ends as the controller does."""
    seen = {(run.rung, run.seed) for run in study.ladder}
    for seed in seeds:
        for rung, psnr in zip(RUNGS, psnrs, strict=True):
            if (rung, seed) not in seen:
                study.add_ladder_run(
                    LadderRun(
                        rung=rung,
                        seed=seed,
                        psnr_db=psnr + 0.001 * seed,
                        base_db=25.0,
                        fidelity=10,
                        train_seconds=1.0,
                    )
                )
    if 0 not in study.records:
        spec = study.rules.baseline
        study.set_baseline(
            TrialRecord(
                number=0,
                state="complete",
                spec=spec,
                cost=cost_of(spec),
                latency=latency_of(spec),
                quality=quality_of(spec),
            )
        )


def search(asker, trials, evaluate=record_of):
    """One worker: what is open first, then new ones; gives the reason why it ended early."""
    study = asker.study
    climb(study)
    for trial in study.pending:
        study.tell(trial, evaluate(trial))
    while study.num_counted < trials:
        try:
            trial = asker.ask()
        except Exhausted as end:
            return str(end)
        study.tell(trial, evaluate(trial))
    return ""


def rows(study):
    """What a search has found, as far as it must not change: number, arch_id, PSNR."""
    return [
        (number, record.spec.arch_id, record.quality and record.quality.psnr_db)
        for number, record in sorted(study.records.items())
    ]
