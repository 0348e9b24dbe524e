"""The planning LP in CVXPY, Pyomo and linopy, each with HiGHS below it; used by ``solve`` where they are installed."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from plugcast.schedule.pairs import pairs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plugcast.schedule.problem import PlanProblem


def available() -> dict[str, Callable[[PlanProblem], float]]:
    """Those that are installed; each takes a problem and gives the optimal objective."""
    known = {"cvxpy": _cvxpy, "pyomo": _pyomo, "linopy": _linopy}
    return {name: model for name, model in known.items() if find_spec(name) is not None}


@contextmanager
def quiet() -> Iterator[None]:
    """What solvers print goes to stderr; stdout belongs to the document."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _cvxpy(problem: PlanProblem) -> float:
    import cvxpy as cp  # noqa: PLC0415 - optional
    from scipy.sparse import csr_array  # noqa: PLC0415 - comes with it

    window, pairs = problem.window, pairs_of(problem)
    count, every = pairs.count, np.arange(pairs.count)
    of_car = csr_array((np.ones(count), (pairs.vehicle, every)), shape=(problem.vehicles, count))
    of_slot = csr_array((np.ones(count), (pairs.slot, every)), shape=(window.slots, count))
    base = window.base_load_kw - window.pv_kw
    most = np.minimum(problem.max_power_kw[pairs.vehicle], window.headroom_kw[pairs.slot]) * pairs.share
    power, bought, sold = (cp.Variable(size, nonneg=True) for size in (count, window.slots, window.slots))
    short = cp.Variable(problem.vehicles, nonneg=True)
    cost = window.slot_h * (window.price_per_kwh @ bought - window.feed_in_per_kwh @ sold)
    programme = cp.Problem(
        cp.Minimize(cost + problem.shortfall_price_per_kwh @ short),
        [
            power <= most,
            bought <= np.maximum(window.limit_kw, base),
            sold <= np.maximum(-base, 0.0),
            of_car @ power * window.slot_h + short == problem.energy_needed_kwh,
            of_slot @ power + base == bought - sold,
        ],
    )
    return float(np.asarray(programme.solve(solver=cp.HIGHS)))


def _pyomo(problem: PlanProblem) -> float:
    import pyomo.environ as pyo  # noqa: PLC0415 - optional
    from pyomo.contrib.appsi.solvers import highs  # noqa: PLC0415 - the same

    window, pairs = problem.window, pairs_of(problem)
    base = window.base_load_kw - window.pv_kw
    most = np.minimum(problem.max_power_kw[pairs.vehicle], window.headroom_kw[pairs.slot]) * pairs.share
    cars, slots = range(problem.vehicles), range(window.slots)
    by_slot: list[list[int]] = [[] for _ in slots]
    for pair, slot in enumerate(pairs.slot.tolist()):
        by_slot[slot].append(pair)
    import_kw, price, feed_in = np.maximum(window.limit_kw, base), window.price_per_kwh, window.feed_in_per_kwh
    surplus = np.maximum(-base, 0.0).tolist()
    model: Any = pyo.ConcreteModel()
    model.power = pyo.Var(range(pairs.count), bounds=lambda _, k: (0, float(most[k])))
    model.bought = pyo.Var(slots, bounds=lambda _, t: (0, float(import_kw[t])))
    model.sold = pyo.Var(slots, bounds=lambda _, t: (0, surplus[t]))
    model.short = pyo.Var(cars, within=pyo.NonNegativeReals)
    need, worth, hours = problem.energy_needed_kwh.tolist(), problem.shortfall_price_per_kwh.tolist(), window.slot_h
    model.energy = pyo.Constraint(
        cars, rule=lambda m, v: hours * sum(m.power[k] for k in pairs.of(v).tolist()) + m.short[v] == need[v]
    )
    model.balance = pyo.Constraint(
        slots, rule=lambda m, t: sum(m.power[k] for k in by_slot[t]) + float(base[t]) == m.bought[t] - m.sold[t]
    )
    model.cost = pyo.Objective(
        expr=hours * sum(float(price[t]) * model.bought[t] - float(feed_in[t]) * model.sold[t] for t in slots)
        + sum(worth[v] * model.short[v] for v in cars)
    )
    solver: Any = highs.Highs()
    solver.highs_options = {"output_flag": False}
    # its capture of file descriptors waits for ever on what other solvers of this process hold open
    with patch.object(highs, "capture_output", lambda **_: nullcontext()):
        solver.solve(model)
    found: Any = pyo.value(model.cost)
    return float(found)


def _linopy(problem: PlanProblem) -> float:
    import linopy  # noqa: PLC0415 - optional
    import pandas as pd  # noqa: PLC0415 - comes with it
    import xarray as xr  # noqa: PLC0415 - the same

    window, pairs = problem.window, pairs_of(problem)
    base = window.base_load_kw - window.pv_kw
    most = np.minimum(problem.max_power_kw[pairs.vehicle], window.headroom_kw[pairs.slot]) * pairs.share
    pair = pd.RangeIndex(pairs.count, name="pair")
    slot, car = pd.RangeIndex(window.slots, name="slot"), pd.RangeIndex(problem.vehicles, name="car")
    model: Any = linopy.Model()
    power = model.add_variables(lower=0, upper=xr.DataArray(most, coords=[pair]), name="power")
    import_kw = xr.DataArray(np.maximum(window.limit_kw, base), coords=[slot])
    bought = model.add_variables(lower=0, upper=import_kw, name="bought")
    sold = model.add_variables(lower=0, upper=xr.DataArray(np.maximum(-base, 0.0), coords=[slot]), name="sold")
    short = model.add_variables(lower=0, coords=[car], name="short")
    car_of = xr.DataArray(pairs.vehicle, coords=[pair], name="car")
    slot_of = xr.DataArray(pairs.slot, coords=[pair], name="slot")
    need = xr.DataArray(problem.energy_needed_kwh, coords=[car])
    model.add_constraints((window.slot_h * power).groupby(car_of).sum() + short == need)
    used = np.unique(pairs.slot)
    model.add_constraints(
        (1.0 * power).groupby(slot_of).sum() - bought.sel(slot=used) + sold.sel(slot=used)
        == xr.DataArray(-base[used], coords={"slot": used}, dims="slot")
    )
    idle = np.setdiff1d(np.arange(window.slots), used)
    if idle.size:
        rest = xr.DataArray(-base[idle], coords={"slot": idle}, dims="slot")
        model.add_constraints(-1.0 * bought.sel(slot=idle) + sold.sel(slot=idle) == rest)
    price = xr.DataArray(window.price_per_kwh * window.slot_h, coords=[slot])
    feed_in = xr.DataArray(window.feed_in_per_kwh * window.slot_h, coords=[slot])
    worth = xr.DataArray(problem.shortfall_price_per_kwh, coords=[car])
    model.add_objective((price * bought).sum() - (feed_in * sold).sum() + (worth * short).sum())
    model.solve(solver_name="highs", io_api="direct", output_flag=False)
    return float(model.objective.value)
