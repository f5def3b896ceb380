"""A run of training in words, the same on its page and in the terminal."""

from nas.analysis.training import Reading, TrainingState
from nas.report.numbers import duration, fixed, signed
from nas.report.words import describe

PROTOCOL = (
    "PSNR by the challenge's protocol: RGB, clamped, uint8, a border of scale pixels dropped, mean "
    "of the per-image dB; of the averaged weights."
)


def write_lead(state: TrainingState) -> str:
    """Return what became of a training, in a sentence or two."""
    network = f"{describe(state.spec)}, x{state.spec.scale}, by recipe {state.recipe}"
    if state.result:
        test = state.result.test_psnr_db
        on_test = "" if test is None else f", {fixed(test, 2, ' dB')} on test"
        return (
            f"{network}: {fixed(state.result.psnr_db, 2, ' dB')} on val{on_test}, after "
            f"{state.result.steps:,} steps in {duration(state.result.seconds)}. {write_gate(state)}"
        )
    if not state.validated:
        return f"{network}: no validation yet."
    last, best = state.validated[-1], find_best(state)
    return (
        f"{network}: {fixed(best.psnr_db, 2, ' dB')} on val at best, after {last.step:,} of "
        f"{state.num_steps:,} steps. {write_gate(state)}"
    )


def find_best(state: TrainingState) -> Reading:
    """Return the best validation of the last stage that has one: its weights are kept."""
    last = state.validated[-1].stage
    readings = [reading for reading in state.validated if reading.stage == last]
    return max(readings, key=lambda reading: reading.psnr_db or 0.0)


def write_gate(state: TrainingState) -> str:
    """Say how far the best validation is from the challenge's gate."""
    psnr_db = state.result.psnr_db if state.result else find_best(state).psnr_db
    assert psnr_db is not None
    gate_db = state.challenge.gate.valid_db
    return (
        f"If these are the val images of {state.challenge.name}, that is "
        f"{signed(psnr_db - gate_db, 2, ' dB')} to its gate of {gate_db:.2f} dB."
    )


def write_reading(reading: Reading, state: TrainingState) -> str:
    """Return a validation on one line.

    Example: "main: step 800 of 4,000, 26.12 dB on val, l1 0.02213, 2 min 05 s"
    """
    parts = [f"{reading.stage}: step {reading.step:,} of {state.num_steps:,}"]
    if reading.psnr_db is not None:
        parts.append(f"{fixed(reading.psnr_db, 3, ' dB')} on val")
    parts += [f"{name} {value:.4g}" for name, value in reading.losses.items()]
    return ", ".join([*parts, duration(reading.seconds)])
