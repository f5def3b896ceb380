"""The backend that measures and trains: photographs, a proxy and a device."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from nas.analysis.ladder import RUNGS
from nas.analysis.lasting import FACTOR
from nas.data.patches import SharedImages
from nas.data.roles import Roles, open_roles
from nas.measure import lock
from nas.measure.device import fingerprint
from nas.measure.latency.meter import LatencyMeter
from nas.search.backends.base import (
    BackendParts,
    OpenedBackend,
    ReadingParts,
    Rules,
    TrainingParts,
)
from nas.search.engines.base import Placement
from nas.search.evaluation.evaluator import ProxyEvaluator
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.longer.kept import KeptLadder, make_key
from nas.system import file_locks
from search_spaces.published import published
from search_spaces.spec import ArchSpec, with_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBackend:
    """Measures and trains every candidate; conf/evaluator/proxy.yaml builds it.

    Workers are assumed to have a device of the same kind as this process: its name and driver stand
    for theirs in the run's environment and in the conditions of latencies.
    """

    why_not_inherit: ClassVar[str] = ""

    def open(self, parts: BackendParts) -> OpenedBackend:
        """Open the photographs and check that the device can be timed as asked for.

        Raises:
            ValueError: data, latency or fidelity cannot be had so.
        """
        lock.open_folder()  # latencies are read under locks: refused now, not in every trial
        training, reading = parts.training, parts.reading
        baseline = with_scale(published("span"), parts.scale)
        fidelities = training.fidelity.fidelities(training.proxy.steps)

        # A meter is opened here for its checks and its conditions; the workers' own are made alike.
        meter = LatencyMeter(reading.latency, baseline=baseline, device=parts.device)
        roles = _open_images(parts)
        settings = gather_settings(
            training,
            parts.reading,
            parts.rules,
            roles,
            run=parts.run,
            placement=parts.placement,
            device=parts.device,
            seed=parts.seed,
            baseline=baseline,
        )
        assert settings.shared
        no_locks = [] if file_locks.are_there() else [file_locks.MISSING]
        return OpenedBackend(
            baseline=baseline,
            ladder_sizes=RUNGS,
            fidelities=fidelities,
            make_evaluator=functools.partial(ProxyEvaluator, settings),
            fingerprints=roles.fingerprints,
            environment=fingerprint(parts.device),
            notices=[*roles.notices, roles.lr_notice, *no_locks],
            # A replay's readings may be of any device.
            conditions={} if reading.replay else meter.conditions,
            lr_origins=roles.lr_origins,
            has_test=roles.test is not None,
            longer=_open_longer(parts, roles) if parts.rules.ladder_long else None,
            why_no_longer="ladder_long=false",
            resources=settings.shared,
        )

    def lengthen(self, parts: BackendParts, *, factor: int, rate: float) -> BackendParts:
        """Return parts whose trainings take `factor` times the steps, at `rate` times the rates."""
        # Longer trainings want lower rates, of both optimizers.
        proxy = parts.training.proxy
        muon_lr = proxy.optimizer.muon_lr
        slower = dataclasses.replace(
            proxy.optimizer,
            lr=proxy.optimizer.lr * rate,
            muon_lr=None if muon_lr is None else muon_lr * rate,
        )
        longer = dataclasses.replace(proxy, steps=proxy.steps * factor, optimizer=slower)
        training = dataclasses.replace(parts.training, proxy=longer)
        return dataclasses.replace(parts, training=training)


def _open_images(parts: BackendParts) -> Roles:
    """Open the photographs of a search.

    Raises:
        ValueError: they cannot be had so, or a parent is to be imitated and none is named.
    """
    training = parts.training
    roles = open_roles(
        training.data,
        scale=parts.scale,
        challenge=parts.rules.challenge.name,
        patch=training.proxy.patch,
        batch_size=training.proxy.batch_size,
    )
    # test is optional: without it the front's PSNR on test stays empty.
    roles.need("train"), roles.need("val")
    if training.proxy.distill and training.parent is None:
        raise ValueError(
            f"proxy.distill={training.proxy.distill:g} imitates a parent; name one with parent=..."
        )
    return roles


def _open_longer(parts: BackendParts, roles: Roles) -> KeptLadder:
    """Return the longer trainings of the ladder, as far as earlier searches made them."""
    training = parts.training
    key = make_key(
        fingerprints=roles.fingerprints,
        proxy=training.proxy,
        parent=training.parent,
        scale=parts.scale,
        device_type=parts.device.type,
    )
    return KeptLadder(key=key, steps=FACTOR * training.proxy.steps)


def gather_settings(
    training: TrainingParts,
    reading: ReadingParts,
    rules: Rules | None,
    roles: Roles,
    *,
    run: Path,
    placement: Placement,
    device: torch.device,
    seed: int,
    baseline: ArchSpec,
) -> EvaluatorSettings:
    """Gather what an evaluator depends on, for every command that trains with one.

    Args:
        rules: None outside a search, where nothing is judged.
        run: the folder that all workers share.
    """
    data = training.data
    sets = {role: images for role in ("train", "val", "test") if (images := roles.get(role))}
    # The user's figure is of a machine, whose workers each hold images where they cannot share.
    memory_mib = data.memory_mib / placement.num_per_host

    return EvaluatorSettings(
        run=run,
        sets=sets,
        memory_mib=memory_mib,
        cache=data.cache,
        shared=SharedImages(roles.need("train"), cache=data.cache, memory_mib=memory_mib),
        scale=baseline.scale,
        challenge=rules.challenge if rules else None,
        proxy=training.proxy,
        fidelities=training.fidelity.fidelities(training.proxy.steps),
        latency=reading.latency,
        limits=rules.limits if rules else {},
        device=str(device),
        seed=seed,
        baseline=baseline,
        replay=reading.replay,
        parent=training.parent,
        time_cap=training.time_cap,
    )
