"""The card of an exported network: what it is, its numbers, where it comes from, the checks."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from PIL import Image as Pictures
from PIL import ImageDraw

from nas.data.pixels.base import bicubic_base
from nas.export.trial import PHOTOGRAPH, Trial
from nas.measure.quality import to_pixels

PICTURE = "card.png"
LABEL_HEIGHT = 16  # pixels, of the line of text over each crop
GAP = 4
# What stands in the table of numbers, by the name in the provenance: words, format, unit.
NUMBERS = {
    "psnr_db": ("PSNR on val", ".3f", " dB"),
    "psnr_gain_db": ("gain over the search's reference", "+.3f", " dB"),
    "test_psnr_db": ("PSNR on test", ".3f", " dB"),
    "runtime_ms": ("runtime", ".2f", " ms"),
    "runtime_ratio": ("runtime over the baseline's", ".3f", ""),
    "memory_mib": ("memory", ".1f", " MiB"),
    "score": ("score", ".3f", ""),
}
COUNTS = {
    "params": "parameters",
    "flops": "FLOPs (multiply-accumulates, at 256x256)",
    "activations": "activations of convolutions, at 256x256",
    "num_conv": "convolutions",
}


def write_card(content: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        content: what arch.json holds.
    """
    parts = (
        _head(content),
        _list_numbers(content),
        _tell_origin(content),
        _list_checks(content),
        _list_files(content),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the title, the warning of a draft, and the picture."""
    spec = content["spec"]
    yield f"# {content['arch_id']}"
    yield ""
    words = f": {_escape(content['description'])}" if content["description"] else ""
    yield f"A network for super-resolution by {spec['scale']}{words}."
    yield (
        "It takes RGB images, float32 (1, 3, H, W) in [0, 1], and gives (1, 3, "
        f"{spec['scale']}H, {spec['scale']}W)."
    )
    if content["base"] is not None:
        yield ""
        yield (
            "**This is a draft.** Its weights are a proxy's, after a brief training over a "
            f"{content['base']} base. Time it, look at it, and train it before it is used: files "
            "that end in `_draft` are no finished network."
        )
    yield ""
    yield f"![A photograph: LR, bicubic, this network, HR]({PICTURE})"
    yield ""


def _list_numbers(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures, each with what it was measured under."""
    facts = content["provenance"]
    yield from ("## Numbers", "", "| | | measured |", "|---|---|---|")
    for name, words in COUNTS.items():
        yield f"| {words} | {content['cost'][name]:,} | counted at the export |"
    for name, (words, spec, unit) in NUMBERS.items():
        value = facts.get(name)
        if value is not None:
            yield f"| {words} | {value:{spec}}{unit} | {_say_how(name, facts)} |"

    training = facts.get("training")
    if training:
        steps = f"{training['steps']:,} steps, recipe {training['recipe']}"
        yield f"| PSNR on val, trained | {training['psnr_db']:.3f} dB | {_escape(steps)} |"
        if training["test_psnr_db"] is not None:
            yield f"| PSNR on test, trained | {training['test_psnr_db']:.3f} dB | {_escape(steps)} |"
    yield ""
    if "psnr_protocol" in facts:
        yield f"PSNR: {_escape(facts['psnr_protocol'])}."
    if facts.get("score_means"):
        yield f"Score: {_escape(facts['score_means'])}."
    yield ""


def _say_how(name: str, facts: Mapping[str, Any]) -> str:
    """Say what a figure of a search was measured under."""
    if name.startswith("psnr") and facts.get("fidelity") is not None:
        return f"proxy, {facts['fidelity']:,} steps"
    if name.startswith("runtime"):
        parts = [facts.get(key) for key in ("device", "latency_mode", "latency_dtype")]
        sizes = facts.get("latency_sizes")
        parts.append(f"LR {sizes}" if sizes else None)
        return _escape(", ".join(str(part) for part in parts if part))
    return "in the search"


def _tell_origin(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the network and its weights come from, and the command that exported it."""
    facts = content["provenance"]
    yield from ("## Origin", "")
    for name in ("run", "trial", "arch", "weights", "file", "parent", "inherits"):
        if facts.get(name) is not None:
            yield f"- {name}: {_escape(facts[name])}"
    for name, value in facts.get("settings", {}).items():
        yield f"- {name}: {_escape(value)}"
    training = facts.get("training")
    if training:
        yield (
            f"- training: recipe {_escape(training['recipe'])}, {training['steps']:,} steps, "
            f"{training['seconds'] / 3600:.1f} hours, run {_escape(training['run'])}"
        )
    for name in ("version", "commit"):
        if facts.get(name) is not None:
            yield f"- nas {name}: {_escape(facts[name])}"
    if facts.get("command"):
        # Indented, on one line: a stranger's name cannot end it.
        yield from ("", f"    {' '.join(str(facts['command']).split())}")
    yield ""


def _list_checks(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each format came to in a fresh process, on the images of the check."""
    yield from ("## Checks", "")
    yield (
        "The files of each format were read in a fresh process and compared with PyTorch, on images "
        "of several sizes, on patterns that drive networks far (stripes, checkerboards, noise), and "
        "on the photograph above."
    )
    yield ""
    yield "| format | largest error | may be | lowest dB | PSNR (PyTorch's) | LR sizes | latency |"
    yield "|---|---|---|---|---|---|---|"
    for name in content["files"]:
        check = content["checks"].get(name)
        if check is None:
            yield f"| {name} | 0 | 0 | equal | | read back as it was written | |"
            continue
        db = "equal" if check["lowest_db"] is None else f"{check['lowest_db']:.1f}"
        ms = "" if check["latency_ms"] is None else f"{check['latency_ms']:.2f} ms"
        yield (
            f"| {name} | {check['largest_error']:.2g} | {_say_limit(check)} | {db} | "
            f"{check['psnr_db']:.3f} ({check['torch_psnr_db']:.3f}) | "
            f"{', '.join(check['sizes'])} | {ms} |"
        )
    yield ""
    yield (
        "Errors are in full scale: 1 is white; where a pattern drives the output further, its "
        "largest value. Where PyTorch itself rounds by more than an error may be, ten times its "
        "rounding passes. Any output is within 40 dB of PyTorch's. The latency is of one 64x64 "
        "image on the CPU, one thread, while other processes may run: information, no measurement."
    )
    yield ""


def _say_limit(check: Mapping[str, Any]) -> str:
    """Say how large a format's error may be."""
    if check["tolerance"] >= 1:
        return "by its dB alone"
    is_rounding = check["largest_error"] > check["tolerance"]
    return f"{check['tolerance']:g}{', or rounding' if is_rounding else ''}"


def _list_files(content: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Files", "")
    yield "- `arch.json`: the architecture (`arch=` takes it), and these figures"
    for name, files in content["files"].items():
        yield f"- {name}: {', '.join(f'`{file}`' for file in files)}"


def _escape(value: Any) -> str:
    """Return a value for a line of a table: a stranger's name makes no markup and no column."""
    text = " ".join(str(value).split())
    for mark in ("\\", "|", "<", "`", "[", "*"):
        text = text.replace(mark, f"\\{mark}")
    return text


def draw_picture(trial: Trial) -> bytes:
    """Return the photograph as LR, bicubic, the network's output and HR, side by side, as PNG."""
    lr = torch.from_numpy(trial.inputs[PHOTOGRAPH])
    nearest = lr.repeat_interleave(trial.scale, 2).repeat_interleave(trial.scale, 3)
    panels = {
        f"LR {lr.shape[3]}x{lr.shape[2]}": to_pixels(nearest),
        "bicubic": to_pixels(bicubic_base(lr, trial.scale)),
        f"this network, {trial.psnr(trial.expected[PHOTOGRAPH]):.2f} dB": to_pixels(
            torch.from_numpy(trial.expected[PHOTOGRAPH])
        ),
        "HR": trial.target,
    }

    height, width = trial.target.shape[:2]
    sheet = Pictures.new("RGB", (len(panels) * (width + GAP) - GAP, height + LABEL_HEIGHT), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (label, pixels) in enumerate(panels.items()):
        left = place * (width + GAP)
        pen.text((left, 2), label, fill="black")
        sheet.paste(Pictures.fromarray(pixels), (left, LABEL_HEIGHT))

    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
