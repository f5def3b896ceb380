"""What nas evaluate writes: rows as CSV, everything as JSON, and the challenge's results.txt."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nas.commands.evaluation.rows import RUNTIME_PROTOCOL, Row, SetResult
from nas.commands.evaluation.standing import COST_PROTOCOL, Standing
from nas.measure.device import device_name
from nas.measure.quality import PROTOCOL, PROTOCOL_Y
from nas.measure.structure import SSIM_PROTOCOL
from nas.search.store.run_folder.run_directory import write
from nas.system.files.file_names import escape_name
from search_spaces import ArchSpec

ENDINGS = {".json": "JSON", ".txt": "results.txt"}  # any other is CSV
# Heads of the challenge's table and their widths; its two forms have all of them, or those of valid.
LONG_FORM = (
    ("Model", 20),
    ("Val PSNR", 10),
    ("Test PSNR", 10),
    ("Val Time [ms]", 14),
    ("Test Time [ms]", 14),
    ("Ave Time [ms]", 14),
    ("Params [M]", 10),
    ("FLOPs [G]", 10),
    ("Acts [M]", 8),
    ("Mem [M]", 8),
    ("Conv", 8),
)
OF_TEST = ("Test PSNR", "Test Time [ms]", "Ave Time [ms]")
SHORT_FORM = tuple(column for column in LONG_FORM if column[0] not in OF_TEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that an evaluation found.

    Attributes:
        name: of the network, as it was given or recognised.
        weights: which entry of which file was read.
        base: the base that was added to weights of a proxy.
    """

    name: str
    spec: ArchSpec
    weights: str
    base: str | None
    device: torch.device
    sets: Sequence[SetResult]
    standing: Standing


def write_report(path: Path, report: Report) -> None:
    """Write a report in the form that the file's ending names."""
    kind = ENDINGS.get(path.suffix.lower())
    if kind == "JSON":
        write(path, as_json(report))
    elif kind == "results.txt":
        write(path, as_results(report))
    else:
        write(path, as_csv([row for images in report.sets for row in images.rows]))


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV; floats are written so that they read back equal.

    There is no row of means: whoever reads the file would take it for an image.
    """
    # The columns are the fields of a row, in their order.
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row.__slots__)
    writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)
    return escape_name(text.getvalue())  # of a file whose name is no UTF-8


def as_json(report: Report) -> str:
    """Return everything as JSON; an infinite PSNR, of equal images, is null."""
    content = {
        "arch": report.name,
        "arch_id": report.spec.arch_id,
        "spec": report.spec.to_dict(),
        "scale": report.spec.scale,
        "weights": report.weights,
        "base": report.base,
        "device": device_name(report.device),
        "torch": torch.__version__,
        "conventions": {
            "psnr": PROTOCOL,
            "psnr_y": PROTOCOL_Y,
            "ssim": SSIM_PROTOCOL,
            "runtime": RUNTIME_PROTOCOL,
            "cost": COST_PROTOCOL,
        },
        "sets": [_describe_set(images, report.standing) for images in report.sets],
        "cost": asdict(report.standing.cost),
        **report.standing.as_json(),
    }
    return escape_name(json.dumps(_drop_infinite(content), indent=2, allow_nan=False)) + "\n"


def as_results(report: Report) -> str:
    """Return the table that the challenge's script writes as results.txt, of one network.

    Times are means over all images, the first among them; what was not evaluated is -.
    """
    sets = {images.role: images for images in report.sets}
    valid, test = sets.get("val"), sets.get("test")
    times = {role: images.runtime_with_first_ms for role, images in sets.items()}
    both = [t for t in times.values() if t is not None]
    cost = report.standing.cost
    memory = (valid or report.sets[-1]).peak_mib
    cells = {
        "Model": report.name.removeprefix("published/"),
        "Val PSNR": _format(valid.mean_psnr_db if valid else None),
        "Test PSNR": _format(test.mean_psnr_db if test else None),
        "Val Time [ms]": _format(times.get("val")),
        "Test Time [ms]": _format(times.get("test")),
        "Ave Time [ms]": _format(sum(both) / 2 if len(both) == 2 else None),
        "Params [M]": f"{cost.params / 1e6:.3f}",
        "FLOPs [G]": f"{cost.flops / 1e9:.2f}",
        "Acts [M]": f"{cost.activations / 1e6:.2f}",
        "Mem [M]": _format(cost.memory_mib if memory is None else memory),
        "Conv": f"{cost.num_conv:4d}",
    }
    form = SHORT_FORM if test is None else LONG_FORM
    heads = "\t".join(f"{head:{width}s}" for head, width in form)
    values = "\t".join(f"{cells[head]:{width}s}" for head, width in form)
    return escape_name(f"{heads}\n{values}\n")


def _describe_set(images: SetResult, standing: Standing) -> dict[str, Any]:
    """Return the rows, means and margins of one set, as JSON holds them."""
    gate = standing.challenge.gate
    margins = standing.margins(images.mean_psnr_db)
    return {
        "role": images.role,
        "lr_origin": images.lr_origin,
        "mean": {
            "psnr_db": images.mean_psnr_db,
            "psnr_y_db": images.mean_psnr_y_db,
            "ssim": images.mean_ssim,
            "ssim_y": images.mean_ssim_y,
        },
        "runtime_ms": images.runtime_ms,
        "first_ms": images.first_ms,
        "runtime_with_first_ms": images.runtime_with_first_ms,
        "peak_mib": images.peak_mib,
        "gates": {
            "valid": {"least_db": gate.valid_db, "margin_db": margins["valid"]},
            "test": {"least_db": gate.test_db, "margin_db": margins["test"]},
            "tolerance_db": gate.tolerance_db,
        },
        "images": [asdict(row) for row in images.rows],
        "skipped": [str(problem) for problem in images.problems],
    }


def _drop_infinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_infinite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_drop_infinite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
