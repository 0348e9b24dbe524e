"""Grids of plug states from what there is: listed stays, or irregular samples."""

from __future__ import annotations

import numpy as np
import polars as pl

from plugcast.features.grid import STEP_US, UNKNOWN, StateGrid


def from_stays(
    asset_id: pl.Series,
    arrival_at: pl.Series,
    departure_at: pl.Series,
    *,
    start_us: int,
    end_us: int,
    time_zone: str,
) -> tuple[StateGrid, tuple[str, ...]]:
    """Grid of assets whose stays are listed.

    An asset is known from its first arrival on. A stay without an end is plugged in for nobody knows how long: unknown
    until the asset's next arrival.

    Args:
        asset_id: One for each stay.
        arrival_at: UTC instants.
        departure_at: UTC instants, null where not known.
        start_us: First step.
        end_us: End of the grid, not part of it.
        time_zone: Whose local clock the steps have.

    Returns:
        The grid and the names of its rows, in order.
    """
    table = pl.DataFrame({"name": asset_id, "arrival": arrival_at, "departure": departure_at})
    table = table.drop_nulls(["name", "arrival"]).sort("name", "arrival")
    table = table.with_columns(pl.col("arrival").shift(-1).over("name").alias("next"))
    names = tuple(table["name"].unique(maintain_order=True).to_list())
    steps = int((end_us - start_us) // STEP_US)
    state = np.full((len(names), steps), UNKNOWN, np.int8)

    def first_step(column: str) -> np.ndarray:
        at = table[column].to_physical().fill_null(end_us).to_numpy()
        return np.asarray(np.clip(-((start_us - at) // STEP_US), 0, steps))

    row = table["name"].rle_id().to_numpy()
    arrival, departure, following = first_step("arrival"), first_step("departure"), first_step("next")
    open_end = table["departure"].is_null().to_numpy()
    first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]]) if len(row) else np.zeros(0, np.int64)
    for place in first:
        state[row[place], arrival[place] :] = 0
    for mine, begin, end, again, unended in zip(row, arrival, departure, following, open_end, strict=True):
        if unended:
            state[mine, begin:again] = UNKNOWN
        else:
            state[mine, begin:end] = 1
    return StateGrid(start_us=start_us, time_zone=time_zone, state=state), names


def from_samples(
    asset: np.ndarray,
    timestamp_us: np.ndarray,
    known_us: np.ndarray,
    is_plugged_in: np.ndarray,
    *,
    assets: int,
    gap_limit_min: float,
    time_zone: str,
) -> StateGrid:
    """Grid of irregular samples: each step has the newest sample known by then, unknown if that is too old.

    What came late stands where it became known, not where it was taken: no step tells what nobody could know yet.

    Args:
        asset: Codes 0 .. assets - 1 of rows ordered by asset and time. Shape (n,).
        timestamp_us: When each sample was taken. Shape (n,).
        known_us: When it became known, not before, in the same order. Shape (n,).
        is_plugged_in: Shape (n,).
        assets: How many.
        gap_limit_min: Oldest sample that still tells the state.
        time_zone: Whose local clock the steps have.
    """
    start_us = int(known_us.min()) // STEP_US * STEP_US if len(known_us) else 0
    step = -((start_us - known_us) // STEP_US)
    steps = int(step.max()) + 1 if len(step) else 1
    newest = np.full((assets, steps), -1, np.int32)
    newest[asset, step] = np.arange(len(asset), dtype=np.int32)  # of several in a step the last one stays
    np.maximum.accumulate(newest, axis=1, out=newest)
    if not len(asset):
        return StateGrid(start_us=start_us, time_zone=time_zone, state=np.full((assets, steps), UNKNOWN, np.int8))
    age_us = start_us + np.arange(steps, dtype=np.int64) * STEP_US - timestamp_us[newest]
    known = (newest >= 0) & (age_us <= gap_limit_min * 60e6)
    state = np.where(known, is_plugged_in.astype(np.int8)[newest], np.int8(UNKNOWN))
    return StateGrid(start_us=start_us, time_zone=time_zone, state=state)
