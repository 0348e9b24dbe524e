"""No forecast of a backtest may know what came after its origin: by construction, and caught where one tries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.errors import InputError, LeakageError, NoUsableRowsError
from plugcast.features.spec import FeatureSpec
from plugcast.forecast import backtest, folds
from plugcast.forecast.availability import AvailabilitySpec
from plugcast.forecast.backtest import Forecast, Window
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.contenders import (
    BlendContender,
    ClimatologyContender,
    FrozenContender,
    HorizonContender,
    PersistenceContender,
    logistic,
)
from plugcast.forecast.horizon import HorizonSpec
from plugcast.simulate.telemetry import GeneratorSpec, generate

if TYPE_CHECKING:
    from plugcast.forecast.backtest import Contender
    from plugcast.forecast.panel import Panel

SPEC = FeatureSpec()
LEADS = (60.0, 720.0)


@pytest.fixture(scope="module")
def samples() -> pl.DataFrame:
    """Six vehicles over eight days; one reports with delays of up to three hours."""
    frame = generate(GeneratorSpec(vehicles=6, days=8, seed=5))
    delay = pl.when(pl.col("asset_id") == "ev-00001").then(pl.int_range(pl.len()) % 180).otherwise(0)
    return frame.with_columns(pl.col("available_at") + pl.duration(minutes=delay))


def _span(samples: pl.DataFrame) -> tuple[datetime, datetime]:
    first, last = samples["available_at"].min(), samples["available_at"].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last


def _model() -> HorizonContender:
    quick = Boosting(rounds=4, leaves=4)
    return HorizonContender(
        spec=HorizonSpec(
            max_rows=2_000,
            anchors_min=(60, 720),
            anchor_rows=800,
            plug=AvailabilitySpec(trees=quick),
            boosting=quick,
        )
    )


@given(st.integers(0, 8 * 24 * 60))
def test_a_window_holds_what_was_known_and_nothing_else(samples: pl.DataFrame, minutes: int) -> None:
    first, _ = _span(samples)
    origin = first + timedelta(minutes=minutes)
    window = Window(samples, origin, SPEC, hidden=frozenset({"ev-00002"}))
    wanted = samples.filter((pl.col("available_at") <= origin) & (pl.col("asset_id") != "ev-00002"))
    assert window.samples.equals(wanted)
    assert window.until(origin).samples.equals(wanted)
    with pytest.raises(LeakageError, match="never ahead"):
        window.until(origin + timedelta(microseconds=1))


def test_an_empty_window_says_what_to_do(samples: pl.DataFrame) -> None:
    with pytest.raises(NoUsableRowsError, match="Nothing was known at 2020-01-01"):
        Window(samples, datetime(2020, 1, 1, tzinfo=UTC), SPEC).panel()


def test_what_comes_after_an_origin_changes_no_fit(samples: pl.DataFrame) -> None:
    first, last = _span(samples)
    cut = first + (last - first) * 0.7
    later = pl.col("available_at") > cut
    upside_down = samples.with_columns(
        pl.when(later).then(~pl.col("is_plugged_in")).otherwise("is_plugged_in").alias("is_plugged_in"),
        pl.when(later).then(100 - pl.col("soc")).otherwise("soc").alias("soc"),
    )
    known = Window(samples, cut, SPEC).panel()
    row = np.arange(0, known.rows, 200)
    lead = np.full(len(row), 90.0)
    for contender in (_model(), ClimatologyContender(), BlendContender(leads_min=LEADS)):
        honest = contender.fit(Window(samples, cut, SPEC)).forecast(known, row, lead)
        shuffled = contender.fit(Window(upside_down, cut, SPEC)).forecast(known, row, lead)
        for here, there in zip(honest.arrays(), shuffled.arrays(), strict=True):
            np.testing.assert_array_equal(here, there)


@dataclass(frozen=True)
class Cheat:
    """Looks at the next row."""

    name: str = "cheat"

    def fit(self, window: Window) -> Cheat:  # noqa: ARG002
        return self

    def forecast(self, known: Panel, row: np.ndarray, lead_min: np.ndarray) -> Forecast:  # noqa: ARG002
        return Forecast(plug_probability=known.soc[np.minimum(row + 1, known.rows - 1)] / 100)


def test_a_forecast_that_looks_ahead_is_refused(samples: pl.DataFrame) -> None:
    layout = folds.later_time(*_span(samples), folds=2)
    with pytest.raises(LeakageError, match="cheat: the forecast of ev-"):
        backtest.run(samples, SPEC, layout, [Cheat()], leads_min=LEADS)
    honest = backtest.run(samples, SPEC, layout, [PersistenceContender()], leads_min=LEADS)
    assert honest.audited == backtest.AUDITED


def test_everyone_is_scored_on_the_same_later_rows(samples: pl.DataFrame) -> None:
    layout = folds.later_time(*_span(samples), folds=2)
    field: list[Contender] = [_model(), PersistenceContender(), ClimatologyContender(), BlendContender(leads_min=LEADS)]
    result = backtest.run(samples, SPEC, layout, field, leads_min=LEADS, most_rows=300, audited=2)
    assert [scored.lead_min for scored in result.leads] == list(LEADS)
    assert result.fit_rows[0] < result.fit_rows[1]
    for scored in result.leads:
        assert set(scored.forecasts) == {"model", "persistence", "climatology", "blend"}
        assert set(scored.fold) == {0, 1}
        for number, fold in enumerate(layout):
            at = scored.timestamp_us[scored.fold == number]
            assert (at < fold.end_at.timestamp() * 1e6).all()
        for forecast in scored.forecasts.values():
            assert all(len(each) == len(scored.row) for each in forecast.arrays())
            assert ((forecast.plug_probability >= 0) & (forecast.plug_probability <= 1)).all()
        now = scored.forecasts["persistence"]
        np.testing.assert_array_equal(now.plug_probability, result.panel.is_plugged_in[scored.row])
        assert now.energy_median_pct is not None
        assert np.nanmean(np.abs(now.energy_median_pct - scored.energy_pct)) > 0


def test_unseen_assets_are_never_learnt_from(samples: pl.DataFrame) -> None:
    _, last = _span(samples)
    names = samples["asset_id"].unique().to_list()
    site = {name: "east" if name < "ev-00004" else "west" for name in names}
    seen: list[set[str]] = []

    class Watcher(PersistenceContender):
        def fit(self, window: Window) -> PersistenceContender:
            seen.append(set(window.samples["asset_id"].unique()))
            return self

    layout = folds.unseen(names, last - timedelta(days=2), last, group_of=site)
    result = backtest.run(samples, SPEC, layout, [Watcher()], leads_min=LEADS, audited=0)
    for number, (fold, learnt) in enumerate(zip(layout, seen, strict=True)):
        tested = {result.panel.asset_ids[code] for s in result.leads for code in s.asset[s.fold == number]}
        assert tested
        assert tested <= fold.hidden
        assert not tested & learnt


def test_one_group_is_no_split(samples: pl.DataFrame) -> None:
    first, last = _span(samples)
    with pytest.raises(InputError, match="at least two groups"):
        folds.unseen(["a", "b"], first, last, group_of={"a": "x", "b": "x"})


@given(st.integers(1, 12), st.floats(0.05, 0.9))
def test_folds_of_later_time_leave_no_hole_and_do_not_overlap(number: int, share: float) -> None:
    first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    layout = folds.later_time(first, last, folds=number, test_share=share)
    assert len(layout) == number
    for before, after in pairwise(layout):
        assert before.end_at == after.start_at
    assert layout[-1].end_at > last
    assert all(fold.origin_at <= fold.start_at for fold in layout)
    frozen = folds.later_time(first, last, folds=number, test_share=share, refit=False)
    assert all(fold.learns_like(frozen[0]) for fold in frozen)


def test_a_fold_fitted_on_its_own_test_part_is_refused() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="wanted origin <= start < end"):
        folds.Fold(name="x", origin_at=at + timedelta(days=1), start_at=at, end_at=at + timedelta(days=2))
    with pytest.raises(NoUsableRowsError, match="Nothing comes after"):
        folds.after(at, at - timedelta(days=1))


def test_a_frozen_model_is_the_first_one(samples: pl.DataFrame) -> None:
    first, last = _span(samples)
    frozen = FrozenContender(recipe=ClimatologyContender())
    early = frozen.fit(Window(samples, first + timedelta(days=3), SPEC))
    assert frozen.fit(Window(samples, last, SPEC)) is early


def test_logistic_regression_agrees_with_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    rng = np.random.default_rng(6)
    inputs = np.column_stack([np.ones(2_000), rng.normal(size=(2_000, 2))])
    outcome = (rng.random(2_000) < 1 / (1 + np.exp(-inputs @ [0.3, -1.2, 0.7]))).astype(float)
    theirs = LogisticRegression(C=1e3, fit_intercept=False, tol=1e-10).fit(inputs, outcome).coef_[0]
    np.testing.assert_allclose(logistic(inputs, outcome), theirs, atol=1e-5)
    separable = logistic(np.column_stack([np.ones(4), [-1, -1, 1, 1]]), np.array([0, 0, 1, 1]))
    assert np.isfinite(separable).all()


def test_the_blend_trusts_the_state_less_the_further_it_looks(samples: pl.DataFrame) -> None:
    _, last = _span(samples)
    fitted = BlendContender(leads_min=LEADS).fit(Window(samples, last, SPEC))
    assert fitted.weights.shape == (2, 3)
    assert fitted.weights[0, 1] > fitted.weights[1, 1]  # the state counts more an hour ahead than twelve
