"""How long a training step of a candidate takes beside the baseline's, before anything is waited for."""

import time

import torch

from nas.train.proxy import ProxyConfig, residual_spec
from search_spaces.network import build
from search_spaces.spec import ArchSpec

NUM_STEPS = 3  # timed ones, of which the shortest counts; one before them is not


class Pace:
    """Times forward and backward on a batch of the proxy's size, the baseline once and each candidate."""

    def __init__(self, baseline: ArchSpec, proxy: ProxyConfig, device: torch.device) -> None:
        self.baseline, self.proxy, self.device = baseline, proxy, device
        self._baseline_seconds: float | None = None

    def ratio(self, spec: ArchSpec, cap: float) -> float:
        """How many times the baseline's step; one step over the cap is enough to know it."""
        if self._baseline_seconds is None:
            self._baseline_seconds = self._seconds(self.baseline, enough=0.0)
        return self._seconds(spec, enough=cap * self._baseline_seconds) / self._baseline_seconds

    def _seconds(self, spec: ArchSpec, enough: float) -> float:
        """The shortest step; after the first one alone where that took far more than enough."""
        net = build(residual_spec(spec)).to(self.device)
        image = torch.rand(self.proxy.batch_size, 3, self.proxy.patch, self.proxy.patch, device=self.device)
        seconds = []
        for _ in range(1 + NUM_STEPS):
            start = time.perf_counter()
            net(image).mean().backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - start)
            if enough and seconds[0] > 10 * enough:
                return seconds[0]
        return min(seconds[1:])
