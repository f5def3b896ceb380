"""The ladder's second clause: its sizes have to stay in order, and apart, when trained longer."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from nas.analysis.ladder import MIN_SPREAD_GATES, LadderRun, Verdict, is_rising
from nas.analysis.lasting import Lasting, read_lasting


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
    lasting = _read_largest(by_size[sizes[-1]], runs, verdict)
    steps = max(run.fidelity for run in runs)

    faults = []
    if not lasting.covers(steps):  # first, as it explains whatever follows
        faults.append(
            f"the data are used up before its trainings end (more steps stop to gain after "
            f"{lasting.gains_until:,} of {steps:,})"
        )
    if not verdict.passes:
        faults.append(verdict.reason)
        return replace(verdict, reason="; ".join(faults), lasting=lasting)

    # With a ladder that fails there is nothing to hold; here all sizes were trained longer.
    ordered = [by_size[size] for size in sizes]
    faults += _list_order_faults(verdict, ordered, from_parent)
    spread_db = ordered[-1].psnr_db - ordered[0].psnr_db
    kept = f"at {lasting.longest:,} steps in order too, spread {spread_db:.2f} dB"
    reason = "; ".join(faults) or f"{verdict.reason}; {kept}"
    return replace(verdict, passes=not faults, reason=reason, lasting=lasting)


def _read_largest(largest: LadderRun, runs: Sequence[LadderRun], verdict: Verdict) -> Lasting:
    """Return how far the readings of the largest size gain."""
    # What decides is a training that ends at the proxy's steps, its rates at zero; on its way the
    # longer one has high rates there.
    own = [run for run in runs if run.rung == largest.rung]
    readings = {**dict(largest.curve), largest.fidelity: largest.psnr_db}
    readings[own[0].fidelity] = statistics.fmean(run.psnr_db for run in own)
    return read_lasting(largest.rung, tuple(sorted(readings.items())), verdict.seed_std_db)


def _list_order_faults(
    verdict: Verdict, ordered: Sequence[LadderRun], from_parent: bool
) -> list[str]:
    """Return in words what longer trainings of all sizes lack, the smallest size first."""
    at_end = f"at {ordered[-1].fidelity:,} steps"
    psnrs_db = [run.psnr_db for run in ordered]
    faults = []
    if not is_rising(psnrs_db):
        listed = ", ".join(f"{psnr_db:.2f}" for psnr_db in psnrs_db)
        faults.append(f"{at_end} the sizes do not come out in order any more ({listed} dB)")

    # One training of each size is as sure as a deviation of seeds.
    spread_db = psnrs_db[-1] - psnrs_db[0]
    least_db = verdict.spread_db - (verdict.seed_std_db or 0.0)
    bound = f"the {verdict.spread_db:.3f} dB before"
    if from_parent:
        least_db = MIN_SPREAD_GATES * verdict.gate_db
        bound = f"{MIN_SPREAD_GATES:g} gate margins ({least_db:.2f} dB)"
    if spread_db < least_db:
        faults.append(f"{at_end} they spread over {spread_db:.3f} dB, less than {bound}")
    return faults
