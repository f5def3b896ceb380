"""Do released weights train on as they are: no silent range, normalisation or averaging mistake?

    python benchmarks/train/finetune.py --shared ../shared

Each released checkpoint is trained on by recipe=finetune for a few steps at a small rate. Its PSNR
before the first step has to be the reference's within 0.001 dB, and after them at most 0.02 dB
less.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.shared.arguments import make_parser
from benchmarks.train.trainings import join_data, run_training

NETWORKS = {  # the released file, and the reference's name of it where that is another one
    "span": ("team00_SPAN", ""),
    "pds": ("team01_PDS", ""),
    "zenosr": ("team04_ZenoSR", ""),
    "rfdn_span": ("team09_RFDN_SPAN", ""),
    "dscf_fused": ("team15_DSCF_Fused", ""),
    "amcanet": ("team17_AMCANet", ""),
    "spanv2": ("team22_spanv2_c2", "team22_SPANV2"),
    "spanf": ("y2025_team24_spanf", "y2025_team24_SPANF"),
    "dwmamba": ("team12_DWMamba", ""),
}
SMALL = (
    "recipe.stages.whole.patches.lr=[32]",
    "recipe.stages.whole.patches.batch_size=8",
)
MOST_LOST_DB = 0.02
MOST_OFF_DB = {"dwmamba": 0.05}  # the released network draws noise, as the reference says


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    reference = json.loads((options.shared / "reference" / "psnr.json").read_text())["psnr"]
    train, are_good = options.shared / "data" / "BSDS200" / "HR", True
    print("network             set    reference   first     last")
    for name, (file, entry) in NETWORKS.items():
        if options.networks and name not in options.networks:
            continue
        weights = options.shared / "reference" / "checkpoints" / f"{file}.pth"
        keys = [f"arch=published/{name}", "recipe=finetune", f"weights={weights}", *SMALL]
        keys.append(f"recipe.stages.whole.optimizer.lr={options.rate:g}")
        for images in ("Set5", "Set14"):
            wanted = next(
                value for key, value in reference.items() if key.startswith(entry or file)
            )
            with tempfile.TemporaryDirectory() as folder:
                result = run_training(
                    Path(folder) / "run",
                    *keys,
                    *join_data(train, options.shared / "data" / images / "HR"),
                    f"steps={options.steps}",
                    "validations=1",
                    "device=cpu",
                    threads=options.threads,
                )
            first, last = result["curve"][0][1], result["curve"][-1][1]
            wanted_db = wanted[images]["mean"]
            is_good = (
                abs(first - wanted_db) <= MOST_OFF_DB.get(name, 0.001)
                and last >= first - MOST_LOST_DB
            )
            are_good = are_good and is_good
            mark = "" if is_good else "  NOT GOOD"
            print(
                f"{name:18}  {images:5}  {wanted_db:9.4f}  {first:.4f}  {last:.4f}{mark}",
                flush=True,
            )
    return 0 if are_good else 1


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of data and reference")
    parser.add_argument("--networks", nargs="*", default=[], help="some of them; all by default")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rate", type=float, default=2e-6, help="of AdamW")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
