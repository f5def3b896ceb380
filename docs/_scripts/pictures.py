"""Draw the pictures of docs/concepts: python docs/_scripts/pictures.py

Where a picture shows numbers they are measured ones: the ladders of benchmarks/results/proxy.jsonl, and the
table ESR-Bench-mini that ships.
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
from svg import BLUE, GREEN, INK, LINE, ORANGE, RED, SOFT, Canvas

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"
LADDER = ("12x1", "16x3", "20x4", "28x6")  # sizes of SPAN: channels x blocks, smallest first
REFERENCE = (20, 4, "parameter_free", "silu")  # of ESR-Bench-mini: what gains are measured from
GATE_DB = -0.08  # conf/challenge/esr_bench_mini.yaml


def draw_flow() -> Canvas:
    """Draw how data flows: a row of boxes from the space to the files, three measurements in the middle."""
    canvas = Canvas(900, 330, "How data flows through a search")

    # what is tried
    canvas.add_box(20, 20, 150, 60, "conf/space/x.yaml\nwhat may be chosen", GREEN)
    canvas.add_box(20, 130, 150, 60, "sampler\nasks for the next one", GREEN)
    canvas.add_box(220, 75, 140, 60, "ArchSpec\none network as data", BLUE)
    canvas.add_box(410, 75, 120, 60, "build\nspec to module")
    canvas.add_arrow((170, 50), (195, 50), (195, 95), (218, 95))
    canvas.add_arrow((170, 160), (195, 160), (195, 115), (218, 115))
    canvas.add_arrow((360, 105), (408, 105))

    # what is measured of it
    canvas.add_box(590, 15, 290, 50, "cost\nparameters, FLOPs, memory: counted", ORANGE)
    canvas.add_box(590, 80, 290, 50, "latency\nratio to SPAN on your device: timed", ORANGE)
    canvas.add_box(590, 145, 290, 50, "quality\nPSNR after a brief training", ORANGE)
    for y in (40, 105, 170):
        canvas.add_arrow((530, 105), (560, 105), (560, y), (588, y))

    # where it is kept and what is made of it
    canvas.add_box(
        590, 250, 290, 60, "TrialRecord in journal.log\nthe one place that knows all trials", BLUE
    )
    canvas.add_arrow((735, 195), (735, 248))
    canvas.add_box(
        300, 250, 230, 60, "trials.csv, front.csv, report.html\nmade anew from the journal"
    )
    canvas.add_arrow((590, 280), (537, 280))
    canvas.add_box(20, 250, 220, 60, "pick and export\narch.json and weights")
    canvas.add_arrow((285, 280), (242, 280))
    canvas.add_arrow((660, 250), (660, 222), (95, 222), (95, 192))
    canvas.add_text(370, 214, "the next proposal learns from all trials", color=SOFT, size=12)
    return canvas


def draw_ladders() -> Canvas:
    """Draw a ladder that passes beside one that fails, each dot one training."""
    canvas = Canvas(900, 360, "A ladder that passes and one that fails")
    panels = (
        ("small_low", 20, GREEN, "passes: proxy=brief", "in order for each seed, 0.37 dB apart"),
        (
            "muon_high",
            470,
            RED,
            "fails: learning rates too high",
            "the largest network is not the best",
        ),
    )
    for variant, left, color, title, reason in panels:
        _draw_ladder(canvas, _read_ladder(variant), left, color)
        canvas.add_text(left + 215, 28, title, color=color)
        canvas.add_text(left + 215, 48, reason, color=SOFT, size=12)
    return canvas


def _read_ladder(variant: str) -> dict[str, list[float]]:
    """Return the PSNR on Set14, dB, of each size's three trainings."""
    psnr_db: dict[str, list[float]] = defaultdict(list)
    for line in (ROOT / "benchmarks/results/proxy.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["variant"] == variant and row["network"] in LADDER and row["seed"] < 3:
            psnr_db[row["network"]].append(row["psnr_db"])
    return psnr_db


def _draw_ladder(canvas: Canvas, ladder: dict[str, list[float]], left: int, color: str) -> None:
    lowest, highest, top, bottom = 25.3, 25.8, 80, 290

    def place(psnr_db: float) -> float:
        return bottom - (psnr_db - lowest) / (highest - lowest) * (bottom - top)

    for tenth in range(6):
        level = lowest + tenth / 10
        canvas.add_line((left + 50, place(level)), (left + 420, place(level)))
        canvas.add_text(
            left + 44, place(level) + 4, f"{level:.1f}", color=SOFT, anchor="end", size=12
        )
    canvas.add_text(left + 44, 66, "PSNR, dB", color=SOFT, size=12)

    steps = []
    for column, size in enumerate(LADDER):
        x = left + 100 + 90 * column
        for value in ladder[size]:
            canvas.add_dot(x, place(value), color)
        steps.append((x, place(sum(ladder[size]) / len(ladder[size]))))
        canvas.add_text(x, 314, size)
    canvas.add_line(*steps, color=color)
    canvas.add_text(left + 235, 340, "SPAN of four sizes: channels x blocks", color=SOFT, size=12)


def draw_rungs() -> Canvas:
    """Draw trainings that pause at rungs; a few go on to the end."""
    canvas = Canvas(900, 300, "Trainings that pause at rungs")
    left, width = 150, 700
    for share, words in ((0.125, "1/8"), (0.25, "1/4"), (0.5, "1/2"), (1.0, "the end")):
        x = left + share * width
        canvas.add_line((x, 40), (x, 250), dashed=True)
        canvas.add_text(x, 28, words, color=SOFT, size=12)

    # share of the steps that each trial reached, and whether more was spent on it later
    for row, (reached, words) in enumerate(
        (
            (1.0, "trial 1"),
            (0.125, "trial 2"),
            (0.5, "trial 3"),
            (1.0, "trial 4"),
            (0.25, "trial 5"),
        )
    ):
        y = 55 + row * 38
        color = BLUE if reached == 1 else LINE
        canvas.add_text(left - 15, y + 15, words, anchor="end", size=13)
        canvas.add_bar(left, y, reached * width, 20, color)
        if reached < 1:
            canvas.add_text(
                left + reached * width + 10, y + 15, "paused", color=SOFT, anchor="start", size=12
            )
    canvas.add_text(
        left + width / 2,
        280,
        "A training goes on when a step of it is worth more than a step of a new candidate.",
        color=SOFT,
        size=13,
    )
    return canvas


def draw_gate() -> Canvas:
    """Draw all members of ESR-Bench-mini: PSNR gain against runtime ratio, with the gate and the front."""
    canvas = Canvas(900, 420, "The gate, the front and the score of 144 networks")
    members = _read_members()
    left, right, top, bottom = 80, 860, 50, 350

    def place(ratio: float, gain_db: float) -> tuple[float, float]:
        x = left + (ratio - 0.1) / 1.0 * (right - left)
        return x, bottom - (gain_db + 0.5) / 0.6 * (bottom - top)

    # axes
    for tenth in range(2, 11, 2):
        x, _ = place(tenth / 10, 0)
        canvas.add_line((x, top), (x, bottom))
        canvas.add_text(x, bottom + 20, f"{tenth / 10:g}", color=SOFT, size=12)
    for gain_db in (-0.4, -0.2, 0.0):
        _, y = place(0, gain_db)
        canvas.add_line((left, y), (right, y))
        canvas.add_text(left - 8, y + 4, f"{gain_db:g}", color=SOFT, anchor="end", size=12)
    canvas.add_text(
        (left + right) / 2, 395, "runtime ratio: shorter to the left", color=SOFT, size=13
    )
    canvas.add_text(
        left - 8, 28, "PSNR gain, dB: better upward", color=SOFT, anchor="start", size=13
    )

    # every member; the front is what no other member beats in both
    passing = members[members["gain_db"] >= GATE_DB].sort_values("runtime_ratio")
    for row in members.itertuples():
        canvas.add_dot(
            *place(row.runtime_ratio, row.gain_db), LINE if row.gain_db < GATE_DB else GREEN, 4
        )
    front = passing[passing["gain_db"] > passing["gain_db"].cummax().shift(fill_value=-1.0)]
    for row in front.itertuples():
        canvas.add_dot(*place(row.runtime_ratio, row.gain_db), BLUE, 6)

    _, gate_y = place(0, GATE_DB)
    canvas.add_line((left, gate_y), (right, gate_y), color=ORANGE, dashed=True)
    canvas.add_text(
        right, gate_y + 18, "gate: below it nothing is ranked", color=ORANGE, anchor="end", size=12
    )
    canvas.add_dot(640, 24, BLUE, 6)
    canvas.add_text(652, 29, "front", anchor="start", size=12)
    canvas.add_dot(710, 24, GREEN, 4)
    canvas.add_text(720, 29, "passes", anchor="start", size=12)
    canvas.add_dot(790, 24, LINE, 4)
    canvas.add_text(800, 29, "fails", anchor="start", size=12)
    return canvas


def _read_members() -> pd.DataFrame:
    """Return each member's first training to the end: runtime_ratio, and gain_db over the baseline."""
    table = pd.read_parquet(ROOT / "nas/tables/esr_bench_mini.parquet")
    trained = table[table["fidelity"] == table["fidelity"].max()]
    reference = trained["arch"].map(lambda arch: _describes(json.loads(arch), *REFERENCE))
    reference_db = trained.loc[reference, "psnr_db"].mean()
    first = trained.drop_duplicates("arch_id")
    return first.assign(gain_db=first["psnr_db"] - reference_db)


def _describes(
    spec: dict[str, Any], channels: int, num_blocks: int, attention: str, activation: str
) -> bool:
    """Return whether a spec is the SPAN of these numbers; a convolution follows its blocks."""
    block = spec["blocks"][0]
    values = (block["channels"], len(spec["blocks"]) - 1, block["attention"], block["activation"])
    return values == (channels, num_blocks, attention, activation)


def draw_latency() -> Canvas:
    """Draw two rounds of a reading, one of them disturbed, and what becomes of them."""
    canvas = Canvas(900, 270, "How a latency is read: baseline and candidate in turn")
    names = (("baseline", ORANGE), ("candidate", BLUE), ("candidate", BLUE), ("baseline", ORANGE))

    for start, stretch, label in (
        (30, 1.0, "a round: kept"),
        (470, 1.35, "a round with a disturbance: set aside"),
    ):
        x = float(start)
        for position, (name, color) in enumerate(names):
            width = (
                98 * (0.85 if name == "candidate" else 1.0) * (stretch if position == 2 else 1.0)
            )
            canvas.add_box(x, 60, width, 46, name, color)
            x += width + 6
        canvas.add_text(start + 190, 40, label, color=INK if stretch == 1 else RED, size=13)
    canvas.add_arrow((30, 125), (870, 125))
    canvas.add_text(865, 145, "time", color=SOFT, anchor="end", size=12)

    canvas.add_box(30, 175, 250, 60, "each round gives a ratio\ncandidate over baseline")
    canvas.add_box(330, 175, 250, 60, "median of 15 to 100 rounds\nruntime_ratio", BLUE)
    canvas.add_box(630, 175, 240, 60, "bootstrap of the rounds\nruntime_ci, 95 % half-width", BLUE)
    canvas.add_arrow((280, 205), (328, 205))
    canvas.add_arrow((580, 205), (628, 205))
    return canvas


def main() -> None:
    """Draw every picture."""
    PICTURES.mkdir(exist_ok=True)
    pictures = {
        "flow": draw_flow,
        "ladder": draw_ladders,
        "rungs": draw_rungs,
        "gate": draw_gate,
        "latency": draw_latency,
    }
    for name, draw in pictures.items():
        draw().save(PICTURES / f"{name}.svg")


if __name__ == "__main__":
    main()
