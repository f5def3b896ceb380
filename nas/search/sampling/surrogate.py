"""A Gaussian process over few observations: mean and uncertainty of what was not tried."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

Floats = npt.NDArray[np.float64]

MAX_FITTED = 100  # observations from which the kernel's parameters are found
MAX_USED = 400  # observations that a prediction rests on
MAX_ITERATIONS = 60
JITTER = 1e-10  # least variance added to an observation's, of outputs scaled to 1
LENGTH_SPREAD = math.sqrt(3)  # of the log-normal prior of length scales
NOISE_LOG, NOISE_SPREAD = -8.0, 4.0  # of the log-normal prior of the noise's share of the variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """A fitted process, and how its inputs (N, E) and outputs are scaled for it."""

    process: GaussianProcessRegressor
    low: Floats
    span: Floats
    mean: float
    scale: float
    noise_std: float  # of one observation, in the output's unit

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function itself, without an observation's noise; (N,) each."""
        found, deviation = self.process.predict(self._scaled(inputs), return_std=True)
        latent = np.maximum((deviation * self.scale) ** 2 - self.noise_std**2, 0.0)
        return found * self.scale + self.mean, np.sqrt(latent)

    def means(self, inputs: Floats) -> Floats:
        """The mean alone, (N,): a fraction of the time."""
        found: Floats = self.process.predict(self._scaled(inputs)) * self.scale + self.mean
        return found

    def _scaled(self, inputs: Floats) -> Floats:
        return (inputs - self.low) / self.span


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
    kernel = _kernel(inputs.shape[1]).clone_with_theta(theta)
    process = GaussianProcessRegressor(kernel, alpha=extra[used], optimizer=None)
    process.fit(scaled[used], normed[used])
    return Surrogate(
        process=process,
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


def _kernel(num_columns: int) -> ConstantKernel:
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
    process = GaussianProcessRegressor(_kernel(num_columns), alpha=alpha, optimizer=optimise)
    process.fit(x, y)
    return tuple(map(float, process.kernel_.theta))
