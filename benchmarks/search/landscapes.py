"""Landscapes to compare search methods on: quality and runtime of every architecture by formula."""

import functools
import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nas.analysis.pareto import front, hypervolume
from nas.search.model.decisions import Decision

Params = Mapping[str, int]
Value = Callable[[Mapping[str, float | str]], tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """A space with two objectives: PSNR in dB, maximised, and runtime in ms, minimised.

    Attributes:
        options: the choices of each decision; numbers are ordered, words are categories.
        value: choices -> (PSNR, runtime).
        corner: the reference point of the hypervolume, (PSNR, runtime).
    """

    options: Mapping[str, tuple[float | str, ...]]
    value: Value
    corner: tuple[float, float]

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The space's decisions."""
        return tuple(
            Decision(
                name=name, num_options=len(options), is_ordered=not isinstance(options[0], str)
            )
            for name, options in self.options.items()
        )

    def at(self, params: Params) -> tuple[float, float]:
        return self.value({name: options[params[name]] for name, options in self.options.items()})

    def everything(self) -> np.ndarray:
        """PSNR and runtime of every architecture, (N, 2)."""
        return _everything(self.value, self.options)

    def volume(self, values: np.ndarray) -> float:
        """Hypervolume of (N, 2) values."""
        signed = np.column_stack([-values[:, 0], values[:, 1]])
        return hypervolume(signed, (-self.corner[0], self.corner[1]))


def span_like() -> Landscape:
    """89,856 SPAN-like architectures (the landscape of the project's issue on proxies)."""
    attention = {"span": (0.10, 0.05), "eca": (0.06, 0.12), "none": (0.0, 0.0), "sig": (0.08, 0.06)}
    activation = {
        "silu": (0.05, 0.03),
        "relu": (0.0, 0.0),
        "lrelu": (0.02, 0.005),
        "gelu": (0.05, 0.05),
    }
    reach = {1: 0.6, 3: 1.0, 5: 1.15}

    def value(at: Mapping[str, float | str]) -> tuple[float, float]:
        blocks, channels, expansion, kernel = (
            float(at[name]) for name in ("blocks", "channels", "expansion", "kernel")
        )
        gate, gate_ms = attention[str(at["attention"])]
        bend, bend_ms = activation[str(at["activation"])]
        is_slow = at["upsampler"] == "dconv"
        capacity = blocks * channels * reach[int(kernel)] * (1 + 0.12 * math.log(expansion))
        psnr = (
            25.2 + 1.9 * (1 - math.exp(-capacity / 160)) + gate * (1 - math.exp(-blocks / 4)) + bend
        )
        psnr += 0.06 * (at["train_form"] == "yes") - 0.04 * is_slow
        tiles = 8 * math.ceil(channels / 8)
        block_ms = 0.08 + tiles**2 * kernel**2 * (0.6 + 0.4 * expansion) / 42000 + gate_ms + bend_ms
        return psnr, 0.35 + blocks * block_ms + 0.15 * is_slow

    return Landscape(
        options={
            "blocks": tuple(range(2, 11)),
            "channels": tuple(range(16, 65, 4)),
            "attention": ("span", "eca", "none", "sig"),
            "activation": ("silu", "relu", "lrelu", "gelu"),
            "expansion": (1, 2, 3, 4),
            "kernel": (1, 3, 5),
            "train_form": ("yes", "no"),
            "upsampler": ("ps", "dconv"),
        },
        value=value,
        corner=(25.6, 6.0),
    )


def drawn(seed: int) -> Landscape:
    """Return a made-up landscape of 20,736 architectures, another for each seed: none was tuned to.

    Quality saturates in a weighted product of the sizes; categories add to it or take from it and
    interact with one size. Runtime is a sum of terms in products of sizes, in steps, and of the
    categories' own.
    """
    rng = random.Random(seed)
    sizes = {
        "depth": tuple(range(1, 9)),
        "width": tuple(range(8, 57, 4))[:12],
        "ratio": (0.5, 1.0, 1.5, 2.0),
    }
    words = {
        name: tuple(f"{name}{place}" for place in range(count))
        for name, count in (("a", 3), ("b", 3), ("c", 2))
    }
    extra = {"d": (1, 2, 3)}
    powers = {name: rng.uniform(0.4, 1.1) for name in sizes}
    gains = {word: rng.uniform(-0.12, 0.12) for group in words.values() for word in group}
    bends = {word: rng.uniform(0.6, 1.4) for word in words["a"]}
    costs = {word: rng.uniform(0.0, 0.15) for group in words.values() for word in group}
    step = rng.choice((1, 8, 16))
    knee, height, last = rng.uniform(15, 60), rng.uniform(1.0, 2.5), rng.uniform(0.02, 0.1)

    def value(at: Mapping[str, float | str]) -> tuple[float, float]:
        size = math.prod(float(at[name]) ** power for name, power in powers.items())
        psnr = 25 + height * (1 - math.exp(-bends[str(at["a"])] * size / knee))
        psnr += sum(
            gains[str(at[name])] * (1 - math.exp(-float(at["depth"]) / 3)) for name in words
        )
        psnr += last * math.log(float(at["d"]))
        tiles = step * math.ceil(float(at["width"]) / step)
        depth, ratio = float(at["depth"]), float(at["ratio"])
        ms = 0.3 + depth * (
            0.05 + tiles**2 * ratio / 4000 + sum(costs[str(at[name])] for name in words)
        )
        return psnr, ms + 0.1 * float(at["d"]) * depth**0.5

    options: dict[str, tuple[float | str, ...]] = {**sizes, **words, **extra}
    return Landscape(options=options, value=value, corner=_corner(value, options))


def _corner(value: Value, options: Mapping[str, tuple[float | str, ...]]) -> tuple[float, float]:
    """Return the quality that a tenth of all miss, and twice the front's median runtime."""
    rows = _everything(value, options)
    members = rows[front(np.column_stack([-rows[:, 0], rows[:, 1]]))]
    return float(np.quantile(rows[:, 0], 0.1)), float(2 * np.median(members[:, 1]))


def _everything(value: Value, options: Mapping[str, tuple[float | str, ...]]) -> np.ndarray:
    picks = itertools.product(*options.values())
    return np.array([value(dict(zip(options, pick, strict=True))) for pick in picks])


LANDSCAPES: dict[str, Callable[[], Landscape]] = {
    "span_like": span_like,
    "drawn0": functools.partial(drawn, 0),
    "drawn1": functools.partial(drawn, 1),
}
