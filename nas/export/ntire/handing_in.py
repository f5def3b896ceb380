"""What a team hands in beside its network: the block of select_model, and the factsheet's table."""

from collections.abc import Mapping
from typing import Any

from nas.export.ntire.names import Names
from nas.measure.latency.sizes import CHALLENGE_SIZES
from nas.record import Cost

SIZES_A_LINE = 5


def write_block(names: Names, *, warm: bool) -> str:
    """Return the block of the challenge's `select_model` that loads a network.

    Args:
        warm: the network runs once on each common size, so that the first image of such a size is
            timed like the others.
    """
    lines = [
        f"    elif model_id == {names.team}:",
        f"        # {names.network}: input and output in [0, 1].",
        f'        name, data_range = f"{{model_id:02}}_{names.network}", 1.0',
        f"        from models.{names.stem} import {names.network}",
        f'        model_path = os.path.join("model_zoo", "{names.stem}.pth")',
        f"        model = {names.network}()",
        '        model.load_state_dict(torch.load(model_path, map_location="cpu"), strict=True)',
    ]
    if warm:
        lines += _write_warming()
    return "\n".join(lines) + "\n"


def _write_warming() -> list[str]:
    """Return the lines that run the network once on each common size of the LR images."""
    sizes = [f"({height}, {width})" for height, width, _ in CHALLENGE_SIZES]
    rows = [
        ", ".join(sizes[first : first + SIZES_A_LINE])
        for first in range(0, len(sizes), SIZES_A_LINE)
    ]
    return [
        "        # Once on each common size, so that no image pays for memory and kernels.",
        "        sizes = [",
        *(f"            {row}," for row in rows),
        "        ]",
        '        if device.type == "cuda":',
        "            model = model.eval().to(device)",
        "            with torch.no_grad():",
        "                for height, width in sizes:",
        "                    model(torch.zeros(1, 3, height, width, device=device))",
        "            torch.cuda.synchronize(device)",
    ]


def write_factsheet(names: Names, cost: Cost, provenance: Mapping[str, Any]) -> str:
    """Return the factsheet's table; what nobody measured stays open for the team to fill in.

    Args:
        cost: of the inference form, at an LR image of 256x256.
        provenance: what a run measured, by column; see `nas.export.bundle.Bundle`.
    """
    training = provenance.get("training")
    psnr = training.get("psnr_db") if isinstance(training, Mapping) else provenance.get("psnr_db")
    runtime = provenance.get("runtime_ms")
    device = provenance.get("device") or provenance.get("latency_device")
    rows = [
        ("Team", f"{names.team:02}"),
        ("Network", names.network),
        ("Parameters [M]", f"{cost.params / 1e6:.3f}"),
        ("FLOPs [G]", f"{cost.flops / 1e9:.2f}"),
        ("Activations [M]", f"{cost.activations / 1e6:.2f}"),
        ("Convolutions", f"{cost.num_conv}"),
        ("Memory [MiB]", f"{cost.memory_mib:.1f}"),
        ("Runtime [ms]", _show(runtime, ".2f", f" on {device}" if device else "")),
        ("PSNR [dB]", _show(psnr, ".2f", " on the run's val images")),
        ("PSNR DIV2K_LSDIR_valid [dB]", ""),
        ("PSNR DIV2K_LSDIR_test [dB]", ""),
        ("Runtime valid [ms]", ""),
        ("Runtime test [ms]", ""),
        ("Extra data", ""),
        ("Training time, GPUs", ""),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"# Factsheet of {names.stem}\n\n"
        "FLOPs (multiply-accumulates), activations and memory (peak of live tensors, float32) are\n"
        "those of the inference form at an LR image of 256x256 pixels. Empty rows are the team's\n"
        "to fill in: the challenge's own script measures them.\n\n"
        f"| | |\n|---|---|\n{table}\n"
    )


def _show(value: Any, layout: str, note: str) -> str:
    """Return a measured number with what it was measured on; nothing where there is none."""
    return f"{value:{layout}}{note}" if isinstance(value, int | float) else ""
