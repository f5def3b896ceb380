"""A Gaussian process over few observations: mean and uncertainty of what was not tried."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]

MAX_FITTED = 100  # observations from which the kernel's parameters are found
MAX_USED = 400  # observations that a prediction rests on
MAX_ITERATIONS = 60
JITTER = 1e-10  # least variance added to an observation's, of outputs scaled to 1
BLOCK = 128  # inputs that are predicted at once
LENGTH_SPREAD = math.sqrt(3)  # of the log-normal prior of length scales
NOISE_LOG, NOISE_SPREAD = -8.0, 4.0  # of the log-normal prior of the noise's share of the variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """A fitted process over M observations, and how its inputs (N, E) and outputs are scaled for it."""

    known: Floats  # scaled inputs of the observations in length scales, (M, E)
    weights: Floats  # of the observations in a mean, (M,)
    inverse: Floats  # of the lower Cholesky factor of their covariance, (M, M)
    lengths: Floats
    amplitude: float  # variance of the function before anything was observed, in scaled outputs
    low: Floats
    span: Floats
    mean: float
    scale: float
    noise_std: float  # of one observation, in the output's unit

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function itself, without an observation's noise; (N,) each."""
        mean, explained = np.empty(len(inputs)), np.empty(len(inputs))
        for place, covariance in self._covariances(inputs):
            mean[place] = covariance @ self.weights
            projected = covariance @ self.inverse.T
            explained[place] = np.einsum("ij,ij->i", projected, projected)
        variance = np.maximum(self.amplitude - explained, 0.0)
        return mean * self.scale + self.mean, np.sqrt(variance) * self.scale

    def means(self, inputs: Floats) -> Floats:
        """The mean alone, (N,): a fraction of the time."""
        mean = np.empty(len(inputs))
        for place, covariance in self._covariances(inputs):
            mean[place] = covariance @ self.weights
        return mean * self.scale + self.mean

    def _covariances(self, inputs: Floats) -> Iterator[tuple[slice, Floats]]:
        """Matern 5/2 covariances with the observations, (BLOCK, M) at a time: they stay in the cache."""
        scaled = (inputs - self.low) / self.span / self.lengths
        squares, known_squares = (scaled**2).sum(axis=1), (self.known**2).sum(axis=1)
        for start in range(0, len(inputs), BLOCK):
            place = slice(start, start + BLOCK)
            distance = (
                scaled[place] @ self.known.T
            )  # squared first; its rounding is the covariance's
            distance *= -2
            distance += squares[place, None]
            distance += known_squares
            np.sqrt(np.maximum(distance, 0.0, out=distance), out=distance)
            distance *= math.sqrt(5)
            result = distance / 3
            result += 1
            result *= distance
            result += 1
            np.exp(np.negative(distance, out=distance), out=distance)
            result *= distance
            result *= self.amplitude
            yield place, result


def fit(inputs: Floats, outputs: Floats, deviations: Floats | None = None) -> Surrogate:
    """Fit a Matern 5/2 process with a length scale an input column, by maximum a posteriori.

    The kernel's parameters come from the first observations only, of a number that grows in steps, so that
    they are found anew at one in ten of a search's proposals; the same observations in the same order give
    the same process.

    Args:
        inputs: (N, E), N at least 2.
        outputs: (N,), finite.
        deviations: (N,), in the outputs' unit, of what is known of an output beside the noise of all; None:
            nothing.
    Source: length-scale prior that grows with the dimension: Hvarfner, Hellsten and Nardi, Vanilla
        Bayesian Optimization Performs Great in High Dimensions, ICML 2024.
    """
    first = _step(len(outputs))
    low, high = inputs[:first].min(axis=0), inputs[:first].max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled = (inputs - low) / span
    mean, scale = float(outputs[:first].mean()), float(outputs[:first].std()) or 1.0
    normed = (outputs - mean) / scale
    extra = np.zeros(len(outputs)) if deviations is None else (deviations / scale) ** 2
    extra = np.maximum(extra, JITTER)
    theta = _theta(
        scaled[:first].tobytes(), normed[:first].tobytes(), extra[:first].tobytes(), inputs.shape[1]
    )
    used = _used(normed)
    kernel = _make_kernel(inputs.shape[1]).clone_with_theta(theta)
    process = _make_process(kernel, alpha=extra[used], optimizer=None)
    process.fit(scaled[used], normed[used])
    lengths = np.exp(theta[1:-1])
    return Surrogate(
        known=scaled[used] / lengths,
        weights=process.alpha_,
        inverse=solve_triangular(process.L_, np.eye(len(used)), lower=True),
        lengths=lengths,
        amplitude=math.exp(theta[0]),
        low=low,
        span=span,
        mean=mean,
        scale=scale,
        noise_std=math.exp(theta[-1] / 2) * scale,
    )


def _step(count: int) -> int:
    """The largest step not above a count: steps of one up to 20, then of a tenth."""
    step = 1
    while step + max(1, step // 10) <= min(count, MAX_FITTED):
        step += max(1, step // 10)
    return step


def _used(outputs: Floats) -> npt.NDArray[np.intp]:
    """Which observations a prediction rests on: all, or the better half of the limit and the latest ones."""
    if len(outputs) <= MAX_USED:
        return np.arange(len(outputs))
    best = np.argsort(-outputs, kind="stable")[: MAX_USED // 2]
    others = np.setdiff1d(np.arange(len(outputs)), best)
    return np.sort(np.concatenate([best, others[-(MAX_USED - len(best)) :]]))


def _make_process(kernel: Any, **settings: Any) -> Any:
    # Slow to load, and most processes of a search (its workers, a refused command) never fit.
    from sklearn.gaussian_process import GaussianProcessRegressor

    return GaussianProcessRegressor(kernel, **settings)


def _make_kernel(num_columns: int) -> Any:
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    return ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
        np.full(num_columns, 3.0), (1e-2, 1e3), nu=2.5
    ) + WhiteKernel(1e-3, (1e-7, 1.0))


@functools.lru_cache(maxsize=64)
def _theta(inputs: bytes, outputs: bytes, extra: bytes, num_columns: int) -> tuple[float, ...]:
    """The kernel's log parameters: signal variance, length scales, noise variance."""
    x = np.frombuffer(inputs).reshape(-1, num_columns)
    y = np.frombuffer(outputs)
    typical = math.sqrt(2) + math.log(num_columns) / 2

    def optimise(objective: object, start: Floats, bounds: Floats) -> tuple[Floats, float]:
        def loss(theta: Floats) -> tuple[float, Floats]:
            value, gradient = objective(theta, eval_gradient=True)  # type: ignore[operator]
            centre = np.concatenate([[0.0], np.full(num_columns, typical), [NOISE_LOG]])
            spread = np.concatenate([[1.0], np.full(num_columns, LENGTH_SPREAD), [NOISE_SPREAD]])
            offset = (theta - centre) / spread
            return value + 0.5 * float(offset @ offset), gradient + offset / spread

        short = np.concatenate([[0.0], np.full(num_columns, typical - 1.0), [-6.0]])
        found = [
            minimize(loss, at, jac=True, bounds=bounds, options={"maxiter": MAX_ITERATIONS})
            for at in (start, short)
        ]
        best = min(found, key=lambda one: float(one.fun))
        # A value on a bound is no failure here, though the process would warn of one.
        return np.clip(best.x, bounds[:, 0] + 1e-3, bounds[:, 1] - 1e-3), float(best.fun)

    alpha = np.frombuffer(extra)
    process = _make_process(_make_kernel(num_columns), alpha=alpha, optimizer=optimise)
    process.fit(x, y)
    return tuple(map(float, process.kernel_.theta))
