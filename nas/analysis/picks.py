"""Picking one architecture from a run, by a word such as knee or by its number."""

import math

import numpy as np
import pandas as pd

from nas.analysis.columns import GOALS
from nas.analysis.membership import costs, explain_empty_front
from nas.analysis.results import best_score_rows, front_table, table
from nas.analysis.run_state import RunState
from nas.record import TrialRecord

EXTREMES = {"fastest": "runtime_ratio", "smallest": "params", "best_psnr": "psnr_db"}
WORDS = ("best_score", "knee", *EXTREMES)


def pick(state: RunState, which: str) -> TrialRecord:
    """Return the record that a word or a trial number names.

    Raises:
        ValueError: the word is not known, nothing fits, or `best_score` of a run that cannot rank.
    Example:
        `pick(state, "knee")`, `pick(state, "12")`
    """
    if which.isdigit():
        return _find_number(state, int(which))
    if which not in WORDS:
        raise ValueError(f"pick={which} is not known; use {', '.join(WORDS)} or a trial number")

    # Every word but the best score names a member of the front.
    rows = table(state)
    members = front_table(rows)
    if members.empty:
        raise ValueError(f"pick={which}: {state.name}: {explain_empty_front(rows, state)}")

    # The best score is looked for beyond the front too: that has other objectives, perhaps.
    if which == "best_score":
        number = _find_best_score(state)
    elif which == "knee":
        number = int(members["number"].iloc[_find_knee(costs(members, state.objectives))])
    else:
        number = _find_extreme(members, EXTREMES[which])
    return _find_number(state, number)


def _find_number(state: RunState, number: int) -> TrialRecord:
    """Return the record of a number, or say which numbers there are."""
    by_number = {record.number: record for record in state.records}
    if number not in by_number:
        range_words = f"it has 0 to {max(by_number)}" if by_number else "it has none yet"
        raise ValueError(f"pick={number}: {state.name} has no trial {number}; {range_words}")
    return by_number[number]


def _find_best_score(state: RunState) -> int:
    """Return the number of the best score among what passes gate and limits, on the front or not.

    Raises:
        ValueError: the proxy cannot rank, or nothing passes.
    """
    if not state.can_rank:
        # A score is of little use where PSNR is not known to be high enough.
        reason = state.verdict.reason if state.verdict else "its ladder is not complete"
        lasting = state.verdict.lasting if state.verdict else None
        is_used_up = lasting is not None and lasting.is_used_up
        instead = "on data that last longer" if is_used_up else "with a longer proxy"
        raise ValueError(
            f"pick=best_score: the proxy of {state.name} cannot rank ({reason}), so no score is "
            f"the best; use pick=knee or a trial number, or search {instead}"
        )
    passing = best_score_rows(table(state))
    if passing.empty:
        raise ValueError(
            f"pick=best_score: no trial of {state.name} passes gate and limits; "
            "use knee or a number"
        )
    return int(passing["number"].iloc[0])


def _find_extreme(members: pd.DataFrame, column: str) -> int:
    """Return the number of the member that is best in a column, the earlier one of equals."""
    is_minimised = GOALS[column].direction == "minimize"
    ordered = members.sort_values([column, "number"], ascending=[is_minimised, True])
    return int(ordered["number"].iloc[0])


def _find_knee(values: np.ndarray) -> int:
    """Return the place of the member farthest below the plane through the front's extremes.

    Args:
        values: (N, K), smaller is better; each column is scaled to [0, 1] first.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin(scaled.sum(axis=1) / math.sqrt(values.shape[1])))
