"""Does distillation from released SPAN pay for a small network, at the same steps?

    python benchmarks/train/distillation.py --shared ../shared

SPAN with 16 channels and 3 blocks is trained by recipe=short, with and without the teacher's image
as a second loss, under several seeds. Lines are added to the results file as they come; the gain is
printed with its 95 % interval over the seeds.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scipy.stats import t as student

from benchmarks.shared.arguments import make_parser
from benchmarks.shared.lines import append_line, read_lines
from benchmarks.train.trainings import join_data, run_training
from search_spaces.spaces.span import SpanSpace

OUTPUT = (
    "{output:{_target_:nas.train.distill.terms.Output,"
    "loss:{_target_:nas.losses.pixel.L1,weight:1.0}}}"
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    for seed in range(options.seeds):
        for distils in (False, True):
            setting = {"steps": options.steps, "seed": seed, "distils": distils}
            if not read_lines(options.results, setting):
                append_line(options.results, setting | _train(options, seed, distils=distils))
    print_gain(read_lines(options.results, {"steps": options.steps}))
    return 0


def _train(options: argparse.Namespace, seed: int, *, distils: bool) -> dict[str, float]:
    """Train once; return PSNR on Set5 and Set14."""
    data = options.shared / "data"
    teacher = options.shared / "reference" / "checkpoints" / "team00_SPAN.pth"
    keys = [f"recipe.stages.{stage}.distill={OUTPUT}" for stage in ("residual", "whole")]
    with tempfile.TemporaryDirectory() as folder:
        arch = Path(folder) / "small.json"
        arch.write_text(make_small().to_json())
        result = run_training(
            Path(folder) / "run",
            f"arch={arch}",
            "recipe=short",
            f"steps={options.steps}",
            f"seed={seed}",
            "validations=2",
            "device=cpu",
            *join_data(data / "BSDS200" / "HR", data / "Set5" / "HR", data / "Set14" / "HR"),
            *([f"teacher={teacher}", *keys] if distils else []),
            threads=options.threads,
        )
    return {"val_db": result["psnr_db"], "test_db": result["test_psnr_db"]}


def make_small():  # type: ignore[no-untyped-def]
    """Return SPAN with 16 channels and 3 blocks."""
    values = {
        "scale": 4, "entry": ["stem"], "normalise": True, "num_blocks": [3], "channels": [16],
        "block_channels": [1.0], "tail_channels": [1.0], "attention": ["parameter_free"],
        "activation": ["silu"], "bias": [True], "skip": ["none"], "taps": ["all"],
        "head": ["conv"],
    }  # fmt: skip
    return SpanSpace(**values).sample(None)


def print_gain(lines: list[dict[str, float]]) -> None:
    """Print the gain of distilling on Set14, paired by seed."""
    by_seed = {(line["seed"], line["distils"]): line["test_db"] for line in lines}
    seeds = sorted({seed for seed, _ in by_seed})
    gains = [
        by_seed[seed, True] - by_seed[seed, False]
        for seed in seeds
        if {(seed, True), (seed, False)} <= by_seed.keys()
    ]
    if len(gains) < 2:
        print(f"{len(gains)} pairs of trainings: too few for an interval")
        return
    mean = statistics.fmean(gains)
    half = student.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
    print(
        f"gain on Set14 of {len(gains)} seeds: {mean:+.3f} dB ({mean - half:+.3f} to {mean + half:+.3f})"
    )


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, results="distillation.jsonl")
    parser.add_argument("--shared", type=Path, required=True, help="folder of data and reference")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
