"""Trust: how far each rung ranks as the end does, and what gap tells two networks apart."""

import html

import pandas as pd

from nas.analysis.run_state import RunState
from nas.analysis.trust import Agreement
from nas.report.html_table import Formatter, html_table
from nas.report.lasting_words import doubt_steps
from nas.report.numbers import DASH, fixed, whole
from nas.report.panel import Part

TITLE = "How far the PSNR can be trusted"
STEPS, NETWORKS = "steps", "networks"
DEVIATION, GAP = "seed deviation (dB)", "gap (dB)"
NEXT, END = "tau with the next", "tau with the end"


def note(state: RunState) -> str:
    """Say what deviation, gap and tau are, and what they were read from."""
    words = (
        "Seed deviation: of one training, over the ladder's seeds. Gap: two networks trained once "
        "that are less apart cannot be told from each other (95 %)."
    )

    # Fidelities for which the data do not last are shown, and said to decide nothing.
    fidelities = [*state.yardstick.references]
    if fidelities and (doubt := doubt_steps(state, *fidelities)):
        words += f"\n{doubt}"

    # Agreement needs two fidelities of the same networks.
    if not state.trust.to_top:
        return (
            f"{words}\nTrainings were read at one fidelity: how longer ones would rank is not "
            "known. nas trust run=... trains some of the front longer and says it."
        )

    return (
        f"{words}\nTau: Kendall's rank agreement with the next fidelity and with the end, with its "
        "95 % interval, over the ladder's rungs and the trials that are trained to the end "
        "whatever they promise (fidelity.probes): what a search chose to go on with would not "
        "show it."
    )


def table(state: RunState) -> pd.DataFrame:
    """Return one row a fidelity, the lowest first."""
    trust = state.trust
    noise = {floor.fidelity: floor for floor in trust.noise}
    to_next = {agreement.lower: agreement for agreement in trust.steps}
    to_end = {agreement.lower: agreement for agreement in trust.to_top}

    # A fidelity stands there for its noise, for an agreement with a higher one, or as the last.
    rows = []
    for fidelity in sorted({*noise, *to_next, *(agreement.upper for agreement in trust.steps)}):
        floor, end = noise.get(fidelity), to_end.get(fidelity)
        rows.append(
            {
                STEPS: fidelity,
                DEVIATION: floor.std_db if floor else None,
                GAP: floor.gap_db if floor else None,
                NEXT: _write_agreement(to_next.get(fidelity)),
                END: _write_agreement(end),
                NETWORKS: end.num_networks if end else None,
            }
        )

    return pd.DataFrame(rows, columns=[STEPS, DEVIATION, GAP, NEXT, END, NETWORKS])


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the table of fidelities, then what `nas trust` found."""
    longer = _draw_retrained(state)
    if table.empty and not longer:
        return ("<p class='empty'>Nothing was trained with a second seed or read twice yet.</p>",)
    if table.empty:
        return longer
    formats = {STEPS: whole, NETWORKS: whole, DEVIATION: _write_db, GAP: _write_db}
    return (html_table(table, formats, label=TITLE), *longer)


def _draw_retrained(state: RunState) -> tuple[Part, ...]:
    """Draw what `nas trust` found; nothing where it was not asked."""
    agreement = state.retrained_agreement
    if agreement is None:
        return ()

    # By the brief PSNR: where the long one is out of order, the brief one misled.
    members = sorted(state.retrained, key=lambda member: member.psnr_db)
    before, after = (f"PSNR at {steps} steps (dB)" for steps in (agreement.lower, agreement.upper))
    frame = pd.DataFrame(
        {
            "trial": [member.number for member in members],
            before: [member.psnr_db for member in members],
            after: [member.long_psnr_db for member in members],
        }
    )
    formats: dict[str, Formatter] = {before: _write_db, after: _write_db}
    words = (
        f"Members of the front, trained {agreement.upper} steps instead of {agreement.lower}: "
        f"tau {_write_agreement(agreement)}. {doubt_steps(state, agreement.upper)}"
    )
    return f"<p>{html.escape(words.strip())}</p>", html_table(
        frame, formats, label="Members trained longer"
    )


def _write_db(value: float) -> str:
    return fixed(value, 3)


def _write_agreement(agreement: Agreement | None) -> str:
    if agreement is None:
        return DASH
    # Of one or two networks, or of equal ones, there is no order to agree in.
    if agreement.tau is None:
        return f"not known of {agreement.num_networks} networks"
    return f"{agreement.tau:.2f} ({agreement.low:.2f} to {agreement.high:.2f})"
