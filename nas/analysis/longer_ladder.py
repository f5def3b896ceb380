"""The ladder's second clause: its sizes have to stay in order, and apart, when trained longer."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from nas.analysis.ladder import MIN_SPREAD_GATES, LadderRun, Verdict, is_rising
from nas.analysis.lasting import read_lasting


def list_longer_sizes(verdict: Verdict, sizes: Sequence[str]) -> tuple[str, ...]:
    """Return the sizes that are trained longer, the largest first.

    Where the ladder itself fails its order later decides nothing: the largest alone shows how
    long the data last.

    Args:
        verdict: of the ladder's own trainings.
        sizes: of the ladder, smallest first.
    """
    return tuple(reversed(sizes)) if verdict.passes else (sizes[-1],)


def judge_longer(
    verdict: Verdict,
    runs: Sequence[LadderRun],
    longer: Sequence[LadderRun],
    sizes: Sequence[str],
    *,
    from_parent: bool = False,
) -> Verdict:
    """Return a ladder's verdict with what its longer trainings say.

    The data must not be used up before the ladder's own trainings end. Where all sizes were trained
    longer, they have to be in order there too, and spread as far as before but for a deviation of
    seeds; where they start from a parent, over the gate margins alone.

    Args:
        verdict: of the ladder's own trainings.
        runs: these trainings.
        longer: one training of each size of `list_longer_sizes`.
        sizes: smallest first.
        from_parent: as in `LongerPlan`.
    """
    by_size = {run.rung: run for run in longer}
    largest = by_size[sizes[-1]]
    own_psnrs_db = [run.psnr_db for run in runs if run.rung == sizes[-1]]
    steps = max(run.fidelity for run in runs)

    # What decides is a training that ends at the proxy's steps, its rates at zero; on its way the
    # longer one has high rates there.
    readings = {**dict(largest.curve), largest.fidelity: largest.psnr_db}
    readings[steps] = statistics.fmean(own_psnrs_db)
    curve = tuple(sorted(readings.items()))
    lasting = read_lasting(sizes[-1], curve, verdict.seed_std_db)

    faults = []
    if not lasting.covers(steps):  # first, as it explains whatever follows
        faults.append(
            f"the data are used up before its trainings end (more steps stop to gain after "
            f"{lasting.gains_until:,} of {steps:,})"
        )
    if not verdict.passes:
        faults.append(verdict.reason)
    at_end = f"at {largest.fidelity:,} steps"
    reason = verdict.reason
    if verdict.passes:
        psnrs_db = [by_size[size].psnr_db for size in sizes]
        spread_db = psnrs_db[-1] - psnrs_db[0]
        if not is_rising(psnrs_db):
            listed = ", ".join(f"{psnr_db:.2f}" for psnr_db in psnrs_db)
            faults.append(f"{at_end} the sizes do not come out in order any more ({listed} dB)")
        least_db = verdict.spread_db - (verdict.seed_std_db or 0.0)
        bound = f"the {verdict.spread_db:.3f} dB before"
        if from_parent:
            least_db = MIN_SPREAD_GATES * verdict.gate_db
            bound = f"{MIN_SPREAD_GATES:g} gate margins ({least_db:.2f} dB)"
        if spread_db < least_db:
            faults.append(f"{at_end} they spread over {spread_db:.3f} dB, less than {bound}")
        reason = f"{reason}; {at_end} in order too, spread {spread_db:.2f} dB"
    return replace(verdict, passes=not faults, reason="; ".join(faults) or reason, lasting=lasting)
