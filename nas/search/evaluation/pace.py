"""How long a training step of a candidate takes beside the baseline's, before it is trained."""

import time

import torch

from nas.train.proxy import ProxyConfig, residual_spec
from search_spaces.network import build
from search_spaces.spec import ArchSpec

NUM_STEPS = 3  # that are timed after one that is not; the shortest counts
FAR_OVER = 10  # times the cap: a candidate so slow is not timed further


class Pace:
    """Times forward and backward on a batch of the proxy's size, the baseline's once."""

    def __init__(self, baseline: ArchSpec, proxy: ProxyConfig, device: torch.device) -> None:
        self.baseline, self.proxy, self.device = baseline, proxy, device
        self._baseline_seconds: float | None = None

    def ratio(self, spec: ArchSpec, cap: float) -> float:
        """Return how many times as long as the baseline's a step of a network takes.

        Args:
            cap: ratio that matters; where the first step is far over it, that step alone counts.
        """
        # The baseline is timed to the end: every ratio stands on it.
        if self._baseline_seconds is None:
            self._baseline_seconds = self._time_step(self.baseline, give_up_at=None)
        give_up_at = FAR_OVER * cap * self._baseline_seconds
        return self._time_step(spec, give_up_at=give_up_at) / self._baseline_seconds

    def _time_step(self, spec: ArchSpec, give_up_at: float | None) -> float:
        """Return the seconds of the shortest step; of the first where that takes `give_up_at`."""
        # Random weights and images: the time of a step does not depend on them.
        net = build(residual_spec(spec)).to(self.device)
        size = (self.proxy.batch_size, 3, self.proxy.patch, self.proxy.patch)
        image = torch.rand(*size, device=self.device)

        seconds: list[float] = []
        for _ in range(1 + NUM_STEPS):
            start = time.perf_counter()
            net(image).mean().backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - start)
            # A candidate of a hundred times the work would hold the worker for minutes.
            if give_up_at and seconds[0] > give_up_at:
                return seconds[0]

        return min(seconds[1:])  # the first one allocates memory and picks algorithms
