"""Trust: how far each rung ranks as the end does, what seeds alone do, what gap tells two networks apart."""

import pandas as pd

from nas.analysis.run_state import RunState
from nas.analysis.trust import Agreement
from nas.report.html_table import html_table
from nas.report.numbers import fixed, missing, whole
from nas.report.panel import Part

TITLE = "How far the PSNR can be trusted"


def note(state: RunState) -> str:
    words = (
        "Seed deviation: of one training, over the ladder's seeds. Gap: two networks trained once that are "
        "less apart cannot be told from each other (95 %)."
    )
    if not state.trust.to_top:
        return (
            f"{words}\nTrainings were read at one fidelity: how longer ones would rank is not known. "
            "nas trust run=... trains some of the front longer and says it."
        )
    return (
        f"{words}\nTau: Kendall's rank agreement with the next fidelity and with the end, with its 95 % "
        "interval, over the ladder's rungs and the trials that are trained to the end whatever they promise "
        "(fidelity.probes): what a search chose to go on with would not show it."
    )


def table(state: RunState) -> pd.DataFrame:
    """One row a fidelity, the lowest first."""
    trust = state.trust
    floors = {floor.fidelity: floor for floor in trust.noise}
    steps = {one.lower: one for one in trust.steps}
    ends = {one.lower: one for one in trust.to_top}
    rows = []
    for fidelity in sorted({*floors, *steps, *(one.upper for one in trust.steps)}):
        floor = floors.get(fidelity)
        rows.append(
            {
                "steps": fidelity,
                "seed deviation (dB)": floor.std_db if floor else None,
                "gap (dB)": floor.gap_db if floor else None,
                "tau with the next": _words(steps.get(fidelity)),
                "tau with the end": _words(ends.get(fidelity)),
                "networks": ends[fidelity].num_networks if fidelity in ends else None,
            }
        )
    columns = [
        "steps",
        "seed deviation (dB)",
        "gap (dB)",
        "tau with the next",
        "tau with the end",
        "networks",
    ]
    return pd.DataFrame(rows, columns=columns)


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    longer = _longer(state)
    if table.empty and not longer:
        return ("<p class='empty'>Nothing was trained with a second seed or read twice yet.</p>",)
    formats = {"steps": whole, "networks": lambda value: "–" if missing(value) else whole(value)}
    formats |= {name: lambda value: fixed(value, 3) for name in ("seed deviation (dB)", "gap (dB)")}
    return (*((html_table(table, formats, label=TITLE),) if len(table) else ()), *longer)


def _longer(state: RunState) -> tuple[Part, ...]:
    """What nas trust has found, where it was asked."""
    found = state.retrained_agreement
    if found is None:
        return ()
    rows = sorted(state.retrained, key=lambda one: one.psnr_db)
    frame = pd.DataFrame(
        {
            "trial": [one.number for one in rows],
            f"PSNR at {found.lower} steps (dB)": [one.psnr_db for one in rows],
            f"PSNR at {found.upper} steps (dB)": [one.long_psnr_db for one in rows],
        }
    )
    formats = {name: lambda value: fixed(value, 3) for name in frame.columns[1:]}
    words = (
        f"Members of the front, trained {found.upper} steps instead of {found.lower}: tau {_words(found)}."
    )
    return f"<p>{words}</p>", html_table(frame, formats, label="Members trained longer")


def _words(found: Agreement | None) -> str:
    if found is None:
        return "–"
    if found.tau is None:
        return f"not known of {found.num_networks} networks"
    return f"{found.tau:.2f} ({found.low:.2f} to {found.high:.2f})"
