"""Everything that a training and a measurement depend on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.data.patches import SharedImages
from nas.data.sets import ImageSet
from nas.measure.latency.config import LatencyConfig
from nas.record import Latency
from nas.score import Challenge
from nas.train.parent import ParentFile
from nas.train.proxy import ProxyConfig
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """What a `ProxyEvaluator` depends on; picklable, as it is sent to workers.

    Attributes:
        run: the run directory, the one folder that all workers share.
        sets: the images by role: train, val and, where there is one, test.
        memory_mib: of decoded training images that a worker may hold in memory, where it cannot map
            what is shared.
        shared: the decoded training images of all workers, while an engine runs; None: each decodes
            its own.
        challenge: None outside a search, where nothing is scored.
        fidelities: training steps at which PSNR is read, rising; the last is the end.
        limits: upper limits by name, over which a candidate is rejected.
        replay: latencies by arch_id that are taken instead of measuring, to repeat a search.
        parent: network whose weights candidates start from; None: fresh weights.
        time_cap: how many times the baseline's a training step may take; None: any time.
    """

    run: Path
    sets: Mapping[str, ImageSet]
    memory_mib: float
    cache: str | None
    scale: int
    challenge: Challenge | None
    proxy: ProxyConfig
    fidelities: tuple[int, ...]
    latency: LatencyConfig
    limits: Mapping[str, float]
    device: str
    seed: int
    baseline: ArchSpec
    replay: Mapping[str, Latency]
    parent: ParentFile | None = None
    time_cap: float | None = None
    shared: SharedImages | None = None
