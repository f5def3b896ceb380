"""A made-up space of 240 networks whose quality and costs are known by formula."""

import math

from nas.search.sampling.aim import Aim
from nas.search.sampling.pool import Candidate, Pool
from nas.search.sampling.proposer import Proposer, Seen
from optuna.distributions import CategoricalDistribution, IntDistribution

SPACE = {
    "blocks": IntDistribution(0, 4),
    "channels": IntDistribution(0, 7),
    "attention": CategoricalDistribution(range(3)),
    "bias": CategoricalDistribution(range(2)),  # without effect where there is one block
}


def describe(params):
    name = dict(params) | ({"bias": 0} if params["blocks"] == 0 else {})
    return Candidate(name=str(sorted(name.items())), costs={"params": size(params)})


def size(params):
    return float((params["blocks"] + 1) * (params["channels"] + 2) ** 2)


def quality(params):
    return 2 * (1 - math.exp(-size(params) / 80)) + (0.0, 0.15, 0.3)[params["attention"]]


def runtime(params):
    return 0.2 + size(params) / 200 + (params["blocks"] + 1) * (0.0, 0.01, 0.2)[params["attention"]]


def pool(**changes):
    return Pool(**{"space": SPACE, "describe": describe, "seed": 0} | changes)


def proposer(**changes):
    values = {
        "goal": "front", "objectives": ("psnr_gain_db", "runtime_ratio"), "limits": {}, "gate_db": 0.0,
        "floor_db": 0.0, "score": None,
    } | changes  # fmt: skip
    return Proposer(pool(), Aim(**values))


def seen_at(made, point, number=0):
    params = made.pool.params(point)
    return Seen(point=point, quality=quality(params), costs={"runtime_ratio": runtime(params)}, number=number)


def search(made, count, *, seed=0, pending=()):
    """What is seen after so many proposals."""
    seen = []
    for place in range(count):
        choice = made.propose(seen, pending, startup=5, seed=1000 * seed + place)
        if choice is None:
            return seen
        seen.append(seen_at(made, choice.point))
    return seen
