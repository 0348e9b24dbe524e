"""Does a native library work here? Each probe uses one for a moment and answers 1.0.

``python -m plugcast.services.probes lightgbm`` runs one in a process of its own, because a library that is built for
another CPU does not raise, it kills.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE: Final = 1e-6
"""A solver's rounding error, no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One library's trial."""

    what: str
    """What the library did, for the report."""
    run: Callable[[], float]


def _highspy() -> float:
    """The least x with x >= 1."""
    import highspy  # noqa: PLC0415 - a probe loads its own library, and no other

    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # half annotated
    solver.setOptionValue("output_flag", False)
    solver.addVar(1.0, highspy.kHighsInf)
    solver.changeColCost(0, 1.0)
    solver.run()
    return float(solver.getInfo().objective_function_value)


def _lightgbm() -> float:
    """A model of three rows of one outcome."""
    import lightgbm  # noqa: PLC0415 - see above
    import numpy as np  # noqa: PLC0415 - see above

    rows, outcome = np.array([[0.0], [1.0], [2.0]]), np.ones(3)
    parameters = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    model = lightgbm.train(parameters, lightgbm.Dataset(rows, outcome), num_boost_round=1)
    return float(model.predict(rows)[0])


def _numpy() -> float:
    """The first unknown of a system of equations."""
    import numpy as np  # noqa: PLC0415 - see above

    return float(np.linalg.solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([3.0, 4.0]))[0])


def _polars() -> float:
    """The mean of a column that is read from text."""
    import polars as pl  # noqa: PLC0415 - see above

    frame = pl.read_csv(io.BytesIO(b"soc\n0.5\n1.5\n"))
    return float(frame.select(pl.col("soc").mean()).item())


def _pyarrow() -> float:
    """A value that went through a Parquet file."""
    import pyarrow as pa  # noqa: PLC0415 - see above
    import pyarrow.parquet as pq  # noqa: PLC0415 - see above

    file = io.BytesIO()
    pq.write_table(pa.table({"soc": [1.0]}), file)
    return float(pq.read_table(file).column("soc")[0].as_py())


def _scikit_learn() -> float:
    """What a forest makes of two rows: 1 for an ordinary one."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - see above

    return float(IsolationForest(n_estimators=2, random_state=0).fit_predict([[0.0], [0.0]])[0])


PROBES: Final = {
    "highspy": Probe(what="solved a linear programme", run=_highspy),
    "lightgbm": Probe(what="trained a model", run=_lightgbm),
    "numpy": Probe(what="solved a system of equations", run=_numpy),
    "polars": Probe(what="read a table", run=_polars),
    "pyarrow": Probe(what="wrote and read a Parquet file", run=_pyarrow),
    "scikit-learn": Probe(what="fitted a forest", run=_scikit_learn),
}
"""By distribution."""


def probe(name: str) -> None:
    """Use one native library for a moment; whatever is wrong with it shows here.

    Raises:
        LookupError: There is no probe of that name.
        ArithmeticError: The library answered, wrongly.
    """
    if name not in PROBES:
        raise LookupError(f"no probe is called {name!r}; there are {', '.join(PROBES)}")
    value = PROBES[name].run()
    if not abs(value - 1.0) <= TOLERANCE:
        raise ArithmeticError(f"{name} answered {value} where 1 was expected")


if __name__ == "__main__":
    probe(sys.argv[1])
