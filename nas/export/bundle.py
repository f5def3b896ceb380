"""An exported network, and the folder that it becomes: architecture, provenance, files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nas.system.files.drafts import replaced_folder
from search_spaces.network import Network
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A network in inference form with its weights.

    Attributes:
        spec: the architecture; the network of a residual is built without its fixed skip branch.
        base: the fixed base over which the weights are a residual; None for a trained network.
        provenance: where it comes from and what was measured of it, as JSON holds it.
    """

    spec: ArchSpec
    net: Network
    base: str | None
    provenance: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.spec.arch_id


class Exporter(Protocol):
    """One format; `takes_residuals` says whether it can hold weights that need a base added."""

    takes_residuals: bool

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the files of this format into a folder; return their names."""
        ...


def export(bundle: Bundle, exporters: Mapping[str, Exporter], out: Path) -> list[Path]:
    """Write a folder in every format, whole or not at all; return its files.

    Raises:
        ValueError: no format is named, one of them cannot hold these weights, or the folder is not
            free.
        UnwritableError: the folder cannot be written.
    """
    if not exporters:
        raise ValueError("formats names none; use formats=[safetensors]")

    # Proxy weights alone are no network: not every format can say that a base belongs to them.
    if bundle.base is not None:
        refused = [name for name, exporter in exporters.items() if not exporter.takes_residuals]
        if refused:
            raise ValueError(
                f"formats: {', '.join(refused)} cannot hold proxy weights, which are a residual "
                f"over a {bundle.base} base: the network has to be trained first; "
                "formats=[safetensors] takes them"
            )

    check_free(out)

    with replaced_folder(out) as draft:
        names = {name: exporter.write(bundle, draft) for name, exporter in exporters.items()}
        (draft / "arch.json").write_text(_arch_json(bundle, names), encoding="utf-8")

    return sorted(out.iterdir())


def check_free(out: Path, *, key: str = "out") -> None:
    """Refuse a place that is taken, so that nothing is ever overwritten.

    Args:
        key: what it was given as, for the message.
    Raises:
        ValueError: it is a file, or a folder that holds something.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            where = "" if place == out else f": {place}"
            raise ValueError(f"{key}={out}{where} is a file; name a folder that is not there yet")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{key}={out} is not empty; name another folder, or empty it first")


def _arch_json(bundle: Bundle, names: Mapping[str, list[str]]) -> str:
    """Write the spec under `spec`, where `arch=` finds it, and beside it what a reader needs."""
    # The spec lies beside the weights: without it they cannot be rebuilt.
    content: dict[str, Any] = {
        "arch_id": bundle.spec.arch_id,
        "spec": bundle.spec.to_dict(),
        "base": bundle.base,
        "files": dict(names),
        "provenance": dict(bundle.provenance),
    }

    if bundle.base is not None:
        content["note"] = (
            f"The weights are a proxy's, after a brief training: a residual over a {bundle.base} "
            "base that has to be added to the network's output (nas evaluate does). Train the "
            "network before using it."
        )

    return json.dumps(content, indent=2, allow_nan=False) + "\n"
