"""What does a network reach in some minutes of a CPU?

    python benchmarks/train/recipes.py --train FOLDER --val FOLDER --test FOLDER --minutes 10 30 60

Trains SPAN by recipe=short with as many hours, nothing beside it, and adds a line a training to the
results file; what stands there is not run again.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.shared.arguments import make_parser
from benchmarks.shared.lines import append_line, read_lines
from benchmarks.train.trainings import join_data, name_machine, run_training


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    for minutes in options.minutes:
        setting = {
            "arch": options.arch,
            "recipe": options.recipe,
            "minutes": minutes,
            **name_machine(options.threads),
        }
        if read_lines(options.results, setting):
            continue
        with tempfile.TemporaryDirectory() as folder:
            data = join_data(options.train, options.val, options.test)
            keys = [f"arch={options.arch}", f"recipe={options.recipe}", f"hours={minutes / 60}"]
            result = run_training(
                Path(folder) / "run", *keys, *data, "device=cpu", threads=options.threads
            )
        figures = {name: result[name] for name in ("psnr_db", "test_psnr_db", "steps", "seconds")}
        append_line(options.results, setting | figures)

    print("minutes  steps    PSNR on test (dB)")
    for line in read_lines(options.results, {"arch": options.arch, "recipe": options.recipe}):
        print(f"{line['minutes']:7g}  {line['steps']:6,}  {line['test_psnr_db']:.2f}")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, results="recipes.jsonl")
    for role in ("train", "val", "test"):
        parser.add_argument(f"--{role}", type=Path, required=True, help="folder of images")
    parser.add_argument("--arch", default="published/span")
    parser.add_argument("--recipe", default="short")
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 30, 60])
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
