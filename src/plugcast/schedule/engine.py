"""HiGHS in this process, on one thread: one model, kept and changed in place, with a limit on its time.

The only module that touches the solver. Time is the solver's own count of its runs, so no clock is read here.
"""

from __future__ import annotations

import atexit
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

import highspy
import numpy as np

from plugcast.schedule.crash import Basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugcast.schedule.arrays import FloatArray, IntArray
    from plugcast.schedule.sparse import Programme

GRACE_S: Final = 0.25
"""How much earlier a guarded run is told to stop than it is left to itself, at most half of its time."""
LEFT_BEHIND_S: Final = 60.0
"""How long the end of the process waits for a run that was left behind; it has been told to stop."""
_STATUS: Final = np.array(
    [highspy.HighsBasisStatus.kLower, highspy.HighsBasisStatus.kBasic, highspy.HighsBasisStatus.kUpper], dtype=object
)
_BY_COLUMN: Final = highspy.MatrixFormat.kColwise


class Engine:
    """One model in the solver. Every method that solves returns what went wrong, or nothing."""

    def __init__(self, lp: Programme, *, cost: FloatArray | None = None) -> None:
        self.solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        self.columns, self.rows = lp.columns, lp.rows
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 0),
            # the simplex method alone, from a basis that fits the problem, is faster on this matrix at every size
            ("solver", "simplex"),
            ("presolve", "off"),
        ):
            self.solver.setOptionValue(option, value)
        self.refused = self._pass(lp, lp.cost if cost is None else cost)
        self.wedged = False

    def _pass(self, lp: Programme, cost: FloatArray) -> bool:
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = lp.columns, lp.rows
        model.col_cost_, model.col_lower_, model.col_upper_ = cost, lp.lower, lp.upper
        model.row_lower_, model.row_upper_ = lp.row_lower, lp.row_upper
        model.a_matrix_.format_ = _BY_COLUMN
        model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = lp.start, lp.index, lp.value
        refused: bool = self.solver.passModel(model) == highspy.HighsStatus.kError
        return refused

    def start_from(self, basis: Basis, *, alien: bool = False) -> None:
        """Begin at a basis; one that does not fit is left aside, an ``alien`` one is completed by the solver."""
        given = highspy.HighsBasis()
        given.col_status = _STATUS[basis.columns].tolist()
        given.row_status = _STATUS[basis.rows].tolist()
        given.valid = True
        given.alien = alien
        self.solver.setBasis(given)

    def basis(self) -> Basis:
        """The last basis."""
        found = self.solver.getBasis()
        columns, rows = (
            np.array([int(one) for one in status], dtype=np.int8) for status in (found.col_status, found.row_status)
        )
        return Basis(columns=columns, rows=rows)

    def keep_costs(self) -> None:
        """Solve with the costs as they are; for models whose costs are told apart already."""
        self.solver.setOptionValue("dual_simplex_cost_perturbation_multiplier", 0.0)

    def set_costs(self, columns: IntArray, cost: FloatArray) -> None:
        """Change costs in place."""
        self.solver.changeColsCost(len(columns), columns.astype(np.int32), cost)

    def set_bounds(self, columns: IntArray, lower: FloatArray, upper: FloatArray) -> None:
        """Change bounds of columns in place."""
        self.solver.changeColsBounds(len(columns), columns.astype(np.int32), lower, upper)

    def set_rows(self, rows: IntArray, lower: FloatArray, upper: FloatArray) -> None:
        """Change bounds of rows in place."""
        self.solver.changeRowsBounds(len(rows), rows.astype(np.int32), lower, upper)

    def add_rows(
        self, lower: FloatArray, upper: FloatArray, start: IntArray, index: IntArray, value: FloatArray
    ) -> None:
        """Append rows in one call; ``start`` has one entry a row."""
        count = len(lower)
        self.solver.addRows(count, lower, upper, len(index), start.astype(np.int32), index.astype(np.int32), value)
        self.rows += count

    def add_columns(
        self, cost: FloatArray, upper: FloatArray, start: IntArray, index: IntArray, value: FloatArray
    ) -> None:
        """Append columns from 0 up in one call; ``start`` has one entry a column."""
        count = len(cost)
        self.solver.addCols(
            count, cost, np.zeros(count), upper, len(index), start.astype(np.int32), index.astype(np.int32), value
        )
        self.columns += count

    def set_kinds(self, columns: IntArray, kinds: Sequence[Any]) -> None:
        """Make columns whole or semi-continuous."""
        self.solver.changeColsIntegrality(len(columns), columns.astype(np.int32), np.array(kinds, dtype=np.uint8))

    def run(self, time_limit_s: float, *, guarded: bool = False) -> str:
        """Solve within a time; the empty string, or why there is no optimum.

        ``guarded`` runs it on a thread of its own that is left behind should the solver not look at the time: the
        engine is then of no more use, and every later run says so.
        """
        if self.refused:
            return "the model was refused"
        if self.wedged:
            return "an earlier run never came back"
        if time_limit_s <= 0:
            return "its time was up"
        told_s = max(time_limit_s - GRACE_S, time_limit_s / 2.0) if guarded else time_limit_s
        # HiGHS counts all runs of one object together
        self.solver.setOptionValue("time_limit", self.solver.getRunTime() + told_s)
        if not guarded:
            self._solve()
        elif not self._run_apart(time_limit_s):
            self.wedged = True
            return "it did not come back in time"
        status = self.solver.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return ""
        return f"it stopped with: {self.solver.modelStatusToString(status).lower()}"

    def _solve(self) -> None:
        self.solver.run()  # lets go of the interpreter's lock

    def _run_apart(self, patience_s: float) -> bool:
        done = Event()

        def work() -> None:
            self._solve()
            done.set()

        Thread(target=work, name="plugcast-solver", daemon=True).start()
        if done.wait(patience_s):
            return True
        # an interpreter that ends under a running solver is aborted, its work done or not
        atexit.register(done.wait, LEFT_BEHIND_S)
        return False

    def seconds(self) -> float:
        """What all runs of this model took, by the solver's own count."""
        return 0.0 if self.wedged else float(self.solver.getRunTime())

    def values(self) -> FloatArray:
        """[columns] the last solution."""
        return np.array(self.solver.getSolution().col_value, dtype=np.float64)

    def row_prices(self, cost: FloatArray) -> FloatArray:
        """[rows] What the last basis says that a unit of each row is worth under other costs of the columns."""
        _, basic = self.solver.getBasicVariables()
        of_basic = np.asarray(basic)  # rows are numbered -1, -2, ...
        _, prices = self.solver.getBasisTransposeSolve(np.where(of_basic >= 0, cost[np.maximum(of_basic, 0)], 0.0))
        return np.asarray(prices, dtype=np.float64)

    def has_solution(self) -> bool:
        """Whether the last run left a feasible point."""
        info = self.solver.getInfo()
        return bool(info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible)

    def iterations(self) -> int:
        """Of the simplex method, in the last run."""
        return int(self.solver.getInfo().simplex_iteration_count)

    def mip_bound(self) -> float:
        """The best bound of the last search."""
        return float(self.solver.getInfo().mip_dual_bound)
