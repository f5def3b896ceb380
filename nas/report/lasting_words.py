"""How far a run's data last, in words: the same on the page, in the terminal and in nas trust."""

from nas.analysis.run_state import RunState

LASTING_DATA = (
    "data that last longer: more photographs (data=folder data.train=... data.val=...), or "
    "synthetic images beside them (data.synthetic=0.5)"
)


def lasting_words(state: RunState) -> str:
    """Say how far more training steps gain on these data, by the ladder's largest size.

    Empty while the ladder is not complete.
    """
    if state.verdict is None:
        return ""
    lasting = state.verdict.lasting
    if lasting is None:
        return f"How far the data last was not checked ({state.longer_plan.reason})."

    readings = dict(lasting.readings)
    first_db, last_db = readings[lasting.gains_until], readings[lasting.longest]
    if not lasting.is_used_up:
        steps = state.yardstick.top_fidelity or lasting.longest
        gain = f"{last_db - readings[steps]:+.2f} dB".replace("-", "−")
        return (
            f"More steps still gain ({lasting.size} {gain} from {steps:,} to "
            f"{lasting.longest:,}): the data last so far; longer was not tried."
        )
    return (
        f"More steps stop to gain after {lasting.gains_until:,} of {lasting.longest:,} "
        f"({lasting.size} has {first_db:.3f} dB there, {last_db:.3f} dB at the end): the data are "
        "used up; no fidelity longer than that decides anything."
    )


def doubt_steps(state: RunState, *steps: int) -> str:
    """Say why trainings of so many steps on a run's data decide nothing, or may not.

    Empty: the data were seen to last so far, or nobody has looked.
    """
    lasting = state.verdict.lasting if state.verdict else None
    if lasting is None:
        return ""
    if lasting.is_used_up:
        beyond = ", ".join(f"{count:,}" for count in sorted(steps) if not lasting.covers(count))
        return beyond and (
            f"The data of this run are used up after {lasting.gains_until:,} steps: {lasting.size} "
            f"did not gain by more. Trainings of {beyond} steps show how networks use them up, not "
            "which is better."
        )
    if max(steps) > lasting.longest:
        return (
            f"The data of this run were seen to last for {lasting.longest:,} steps; whether they "
            f"last for {max(steps):,} is not known."
        )
    return ""
