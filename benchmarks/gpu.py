"""Everything that only a CUDA GPU can show, in one command: right first, then fast.

    python benchmarks/gpu.py [--minutes 10] [--out benchmarks/results] [--weights spanv2.pth]

Needs torch and numpy alone beside this checkout (Triton and nvcc where their kernels are to run). Writes
<out>/<gpu name>.json and the same as a Markdown table. Every figure is a ratio of two things timed in turn in
this run; what was not measured is written so, with the reason. Without a GPU it checks what can be checked
there and says what it could not.
"""

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import gpu_checks
import gpu_figures
import gpu_latency
from gpu_figures import Figure

from nas.measure.device import fingerprint
from nas.ops import backend


def sections(names: tuple[str, ...], state: Any) -> dict[str, Callable[[], list[Figure]]]:
    """What is measured, in order: title -> how."""
    return {
        "attention against eager": lambda: gpu_figures.attention_against_eager(names),
        "whole networks": lambda: gpu_figures.whole_networks(state),
        "conv_act against cuDNN": gpu_figures.conv_act_against_cudnn,
        "accuracy": lambda: gpu_figures.accuracy(state),
        "attention, forward and backward": gpu_figures.attention_training,
        "bandwidth": lambda: gpu_figures.attention_bandwidth(names),
        "repeatability": gpu_latency.repeatability,
        "a trainer beside it": gpu_latency.beside_a_trainer,
        "rank stability": gpu_latency.rank_stability,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="no section is begun after this time")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--weights", type=Path, help="a released SPANV2 checkpoint; else random weights")
    parser.add_argument("--only", nargs="*", help="words in the titles of the sections to run")
    options = parser.parse_args()
    begin = time.monotonic()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
    checks = gpu_checks.run(device)
    print(gpu_checks.listed(checks), flush=True)
    figures: list[Figure] = []
    missing: dict[str, str] = {}
    names = tuple(
        name
        for name in ("cuda", "triton")
        if on_gpu and backend.why_not(name, "span_attention", case=(32, torch.float32)) is None
    )
    todo = sections(names, gpu_checks.released(options.weights))
    for title, measure in todo.items():
        if options.only and not any(word in title for word in options.only):
            missing[title] = "not asked for"
        elif not on_gpu:
            missing[title] = "no CUDA GPU"
        elif (time.monotonic() - begin) / 60 > options.minutes:
            missing[title] = f"{options.minutes:g} minutes were over"
        else:
            try:
                figures += measure()
            except Exception as error:  # the other sections are worth having
                traceback.print_exc()
                missing[title] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{title}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)
    profile = gpu_figures.worst_profile() if on_gpu and not options.only else ""
    name = torch.cuda.get_device_name(0) if on_gpu else platform.processor() or platform.machine()
    text = table(name, checks, figures, missing)
    print(text)
    if on_gpu:
        stem = options.out / name.replace(" ", "_")
        options.out.mkdir(parents=True, exist_ok=True)
        result = {
            "device": fingerprint(device),
            "checks": checks,
            "figures": [asdict(figure) for figure in figures],
            "not_measured": missing,
            "minutes": (time.monotonic() - begin) / 60,
        }
        stem.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        stem.with_suffix(".profile.txt").write_text(profile, encoding="utf-8")
    return 1 if any(words.startswith("WRONG") for words in checks.values()) else 0


def table(name: str, checks: dict[str, str], figures: list[Figure], missing: dict[str, str]) -> str:
    """Markdown: figures with what is demanded and hoped for, then what was not measured."""
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    rows = [
        f"{name}, {versions}, {time.strftime('%Y-%m-%d')}",
        "",
        "| figure | measured | demand | hoped | met | note |",
        "|---|---|---|---|---|---|",
    ]
    for figure in figures:
        met = "-" if figure.demand is None else "yes" if _is_met(figure, figure.demand) else "no"
        met = "yes, as hoped" if figure.hoped is not None and _is_met(figure, figure.hoped) else met
        rows.append(
            f"| {figure.name} | {_number(figure.value, figure.unit)} | {_number(figure.demand, figure.unit)} "
            f"| {_number(figure.hoped, figure.unit)} | {met} | {figure.note} |"
        )
    rows += [f"| {title} | not measured | | | | {reason} |" for title, reason in missing.items()]
    return "\n".join([*rows, "", gpu_checks.listed(checks)])


def _is_met(figure: Figure, wanted: float) -> bool:
    return figure.value >= wanted if figure.higher else figure.value <= wanted


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g}{'' if unit == 'x' else ' '}{unit}".strip()


if __name__ == "__main__":
    sys.exit(main())
