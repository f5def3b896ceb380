"""Pareto fronts and the volume they dominate; every cost is better when smaller."""

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]
MAX_OBJECTIVES = 4


def front(costs: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Mark the rows that no other row dominates; equal rows all stay.

    Args:
        costs: (N, K), smaller is better in every column, finite; K at least 1.
    Returns:
        bool, (N,).
    Raises:
        ValueError: a cost is NaN or infinite, or the shape is not (N, K).
    Example:
        >>> front([[1, 2], [2, 1], [2, 2]]).tolist()
        [True, True, False]
    """
    # Rows come sorted by the first column, then the next: only earlier ones can dominate a row.
    rows, inverse = np.unique(_check_costs(costs), axis=0, return_inverse=True)
    # With two columns a row survives if it is below all before it, without comparing pairs.
    if rows.shape[1] == 2:
        marked = rows[:, 1] < np.minimum.accumulate(np.append(np.inf, rows[:, 1]))[:-1]
    else:
        marked = _sweep_rows(rows)
    return np.asarray(marked[inverse.reshape(-1)], dtype=np.bool_)


def _sweep_rows(rows: Costs) -> npt.NDArray[np.bool_]:
    """Mark the front of sorted, distinct rows: each survivor sweeps out what it dominates."""
    alive = np.arange(len(rows))
    place = 0
    while place < len(alive):
        left = rows[alive]
        keep = (left < left[place]).any(axis=1)
        keep[: place + 1] = True
        alive = alive[keep]
        place += 1
    marked = np.zeros(len(rows), dtype=np.bool_)
    marked[alive] = True
    return marked


def hypervolume(costs: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Measure the volume between the front of the costs and a reference point, exactly.

    Args:
        costs: (N, K), K from 1 to 4, finite; rows that are not below the reference in every column
            add nothing.
        reference: (K,), finite, the worst values that still count.
    Raises:
        ValueError: a value is NaN or infinite, shapes do not fit, or K is above 4.
    Example:
        >>> hypervolume([[1, 2], [2, 1]], [3, 3])
        3.0
    """
    points = _check_costs(costs)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or len(corner) != points.shape[1]:
        raise ValueError(
            f"reference must have one value a cost column, got {corner.shape=} for {points.shape=}"
        )
    if not np.isfinite(corner).all():
        raise ValueError(f"the reference point must be finite, got {corner.tolist()}")
    if points.shape[1] > MAX_OBJECTIVES:
        raise ValueError(
            f"hypervolume takes 1 to {MAX_OBJECTIVES} objectives, got {points.shape[1]}"
        )

    # Seen from the corner, each point spans a box; what is dominated adds nothing to their union.
    gains = np.maximum(corner - points, 0.0)
    gains = gains[(gains > 0).all(axis=1)]
    return _measure_union(gains[front(-gains)]) if len(gains) else 0.0


def _measure_union(gains: Costs) -> float:
    """Measure the union of the boxes from 0 to each row: (N, K), N at least 1, all above 0."""
    num_columns = gains.shape[1]
    if num_columns == 1:
        return float(gains.max())

    # Sliced along the last axis there is one slab a row, in which exactly the rows before it and
    # itself count.
    gains = gains[np.argsort(-gains[:, -1], kind="stable")]
    thickness = gains[:, -1] - np.append(
        gains[1:, -1], 0.0
    )  # of the slab in which rows 0..i are what counts
    if num_columns == 2:
        return float(thickness @ np.maximum.accumulate(gains[:, 0]))
    areas = (
        _measure_areas(gains[:, :2])
        if num_columns == 3
        else _measure_sections(gains[:, :-1], thickness)
    )
    return float(thickness @ areas)


def _measure_areas(gains: Costs) -> Costs:
    """Measure the area of the union of rows 0..i for every i: (N, 2) -> (N,)."""
    order = np.argsort(gains[:, 0])
    width = np.diff(gains[order, 0], prepend=0.0)
    column = np.empty(len(gains), dtype=np.intp)
    column[order] = np.arange(len(gains))

    # Each row raises the union over the intervals of the first axis that it reaches.
    height = np.zeros(len(gains))
    areas = np.empty(len(gains))
    for row, (last, top) in enumerate(zip(column, gains[:, 1], strict=True)):
        np.maximum(height[: last + 1], top, out=height[: last + 1])
        areas[row] = width @ height
    return areas


def _measure_sections(gains: Costs, thickness: Costs) -> Costs:
    """Measure the union of rows 0..i for every i: (N, 3) -> (N,).

    Rows with an empty slab keep 0: the caller multiplies them by their thickness, which is 0.
    """
    volumes = np.zeros(len(gains))
    for row in np.flatnonzero(thickness):
        volumes[row] = _measure_union(gains[: row + 1])
    return volumes


def _check_costs(costs: npt.ArrayLike) -> Costs:
    array = np.asarray(costs, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"costs must have the shape (N, K) with K at least 1, got {array.shape}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise ValueError(
            f"costs must be finite, got {array[row].tolist()} in row {row}; leave such rows out"
        )
    return array
