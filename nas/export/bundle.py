"""An exported network, and the folder that it becomes: weights, files of formats, a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from nas.export.card import PICTURE, draw_picture, write_card
from nas.export.trial import Trial, make_trial
from nas.export.verification import CheckError, Outcome, Tolerance, verify
from nas.measure.cost import measure_cost
from nas.record import Cost
from nas.system.files.drafts import replaced_folder
from nas.train.proxy import OverBase
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

DRAFT_SUFFIX = "_draft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A network in inference form with its weights.

    Attributes:
        spec: the architecture; the network of a residual is built without its fixed skip branch.
        net: its plain form, on the CPU.
        base: the fixed base over which the weights are a residual; None for a trained network.
        provenance: where it comes from and what was measured of it, as JSON holds it.
        description: the architecture in a few words, for people.
    """

    spec: ArchSpec
    net: Network
    base: str | None
    provenance: Mapping[str, Any]
    description: str = ""

    @property
    def name(self) -> str:
        return self.spec.arch_id

    def name_file(self, suffix: str, *, variant: str = "") -> str:
        """Return the name of a format's file: that of a draft says that it is one.

        Args:
            suffix: with its dot.
            variant: stands before both, such as _fp16.
        """
        draft = "" if self.base is None else DRAFT_SUFFIX
        return f"{self.name}{variant}{draft}{suffix}"

    def upscaler(self) -> nn.Module:
        """Return the module that gives whole images: a residual network with its base added."""
        return self.net if self.base is None else OverBase(self.net).eval()


class Exporter(Protocol):
    """One format.

    Attributes:
        takes_residuals: whether it can hold proxy weights, which need a base added.
        tolerance: the largest error against PyTorch, in full scale, that passes the check; 0: equal
            to the last bit. Any output has to be within 40 dB besides.
        clamps: whether the file ends its output in [0, 1].
    """

    takes_residuals: bool
    tolerance: float
    clamps: bool

    def check(self, bundle: Bundle) -> None:
        """Refuse within seconds, before anything is written, what the format cannot hold.

        Raises:
            ValueError: one line: the operator, its place in the network, and the way out; or a
                package that is missing, with the line that installs it.
        """
        ...

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the files of this format into a folder; return their names."""
        ...

    def reader(self, folder: Path, names: Sequence[str]) -> list[str] | None:
        """Return the command of a process that reads the files; None: `write` has checked them.

        Two paths are appended: of an .npz of images by name, (1, 3, H, W) float32 in [0, 1], and of
        the .npz of outputs by the same names that it writes, (1, 3, scale H, scale W) float32.
        Beside them it may write the number `latency_ms`.
        """
        ...


def export(bundle: Bundle, exporters: Mapping[str, Exporter], out: Path) -> list[Path]:
    """Write a folder in every format, checked and whole or not at all; return its files.

    Raises:
        ValueError: no format is named, one of them cannot hold this network, or the folder is not
            free.
        CheckError: a file does not give what PyTorch gives.
        UnwritableError: the folder cannot be written.
    """
    if not exporters:
        raise ValueError("formats names none; use formats=[safetensors]")
    _check_base(bundle, exporters)
    check_free(out)

    for name, exporter in exporters.items():
        try:
            exporter.check(bundle)
        except ValueError as error:
            raise ValueError(f"formats: {name}: {error}") from None

    # What PyTorch gives is computed once, for all formats, and before a folder is made.
    trial = make_trial(bundle.upscaler(), bundle.spec.scale)
    cost = _check_cost(bundle)

    with replaced_folder(out) as draft:
        names, outcomes = {}, {}
        for name, exporter in exporters.items():
            names[name] = exporter.write(bundle, draft)
            outcomes[name] = _verify_format(name, exporter, names[name], trial, draft)

        (draft / PICTURE).write_bytes(draw_picture(trial))
        content = _describe_bundle(bundle, cost, names, outcomes)
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        (draft / "arch.json").write_text(text, encoding="utf-8")
        (draft / "card.md").write_text(write_card(content), encoding="utf-8")

    return sorted(path for path in out.rglob("*") if path.is_file())


def check_free(out: Path, *, key: str = "out") -> None:
    """Refuse a place that is taken, so that nothing is ever overwritten.

    Args:
        key: what it was given as, for the message.
    Raises:
        ValueError: it is a file, or a folder that holds something.
    """
    if out.resolve() == Path.cwd():
        raise ValueError(f"{key}={out} is the folder in which you are; name another")
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            where = "" if place == out else f": {place}"
            raise ValueError(f"{key}={out}{where} is a file; name a folder that is not there yet")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{key}={out} is not empty; name another folder, or empty it first")


def _check_base(bundle: Bundle, exporters: Mapping[str, Exporter]) -> None:
    """Refuse proxy weights in formats of finished networks.

    Raises:
        ValueError: some of the formats are such.
    """
    if bundle.base is None:
        return
    refused = [name for name, exporter in exporters.items() if not exporter.takes_residuals]
    if refused:
        others = [name for name, exporter in exporters.items() if exporter.takes_residuals]
        raise ValueError(
            f"formats: {', '.join(refused)} cannot hold proxy weights, which are a residual "
            f"over a {bundle.base} base: the network has to be trained first; "
            f"formats=[{','.join(others) or 'safetensors'}] takes them"
        )


def _check_cost(bundle: Bundle) -> Cost:
    """Count the exported network.

    Raises:
        CheckError: the counts are not those that the run measured.
    """
    cost = measure_cost(bundle.spec)
    for name in ("params", "flops"):
        measured, count = bundle.provenance.get(name), getattr(cost, name)
        if measured is not None and measured != count:
            raise CheckError(
                f"the exported network has {count:,} {name}, the run measured {measured:,}",
                "nothing was written",
            )
    return cost


def _verify_format(
    name: str, exporter: Exporter, files: Sequence[str], trial: Trial, folder: Path
) -> Outcome | None:
    """Check the files of one format; None: there is no reader, as `write` has checked them."""
    # The reader runs in a folder of its own, where a relative path would lead elsewhere.
    command = exporter.reader(folder.resolve(), files)
    if command is None:
        return None
    tolerance = Tolerance(largest_error=exporter.tolerance, clamped=exporter.clamps)
    return verify(trial, name, command, tolerance)


def _describe_bundle(
    bundle: Bundle,
    cost: Cost,
    names: Mapping[str, list[str]],
    outcomes: Mapping[str, Outcome | None],
) -> dict[str, Any]:
    """Return what arch.json holds: the spec, where `arch=` finds it, and what a reader needs."""
    # An infinite number of dB, of equal images, has no place in JSON.
    checks = {
        name: {
            key: None if value == float("inf") else value for key, value in asdict(found).items()
        }
        for name, found in outcomes.items()
        if found is not None
    }
    content: dict[str, Any] = {
        "arch_id": bundle.spec.arch_id,
        "description": bundle.description,
        "spec": bundle.spec.to_dict(),
        "base": bundle.base,
        "files": dict(names),
        "cost": asdict(cost),
        "checks": checks,
        "provenance": dict(bundle.provenance),
    }

    if bundle.base is not None:
        content["note"] = (
            f"The weights are a proxy's, after a brief training: a residual over a {bundle.base} "
            "base. safetensors holds the residual alone, to whose output the base has to be added "
            "(nas evaluate does); in files that end in _draft it is part of the graph. Train the "
            "network before using it."
        )
    return content
