"""Beside the ordinary: a DC charger among AC stations, and public labelled sets from other fields."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from benches.anomaly_labelled import median, of_site
from benches.anomaly_reference import reference_forest, reference_matrix
from benches.anomaly_trials import END, SPLIT, Trial, figures, load, prepare
from benches.registry import Bar
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from plugcast.anomaly.unsupervised import fit_unsupervised
from plugcast.schemas import SESSIONS, conform

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Found = Mapping[tuple[str, int], dict[str, Any]]

MOST_ROWS = 12_000


def measure_adbench(data: Path, seed: int) -> dict[str, Any]:
    """The three detectors that need no faults, fused, beside scikit-learn's isolation forest, both with defaults."""
    made: dict[str, Any] = {}
    for path in sorted((data / "adbench").glob("*.npz")):
        with np.load(path) as archive:
            rows, odd = archive["X"].astype(np.float64), archive["y"]
        kept = np.random.default_rng(0).permutation(len(rows))[:MOST_ROWS]
        rows, odd = rows[kept], odd[kept]
        names = [f"f{place:03d}" for place in range(rows.shape[1])]
        fused = fit_unsupervised(rows, names, seed=seed).score(rows, names)
        plain = -IsolationForest(random_state=seed).fit(rows).score_samples(rows)
        own: dict[str, float] = {"rows": len(rows)}
        for name, score in (("stack", fused), ("sklearn", plain)):
            own[f"{name}_auroc"] = float(roc_auc_score(odd, score))
            own[f"{name}_ap"] = float(average_precision_score(odd, score))
        made[path.stem] = own
    return made


def tell_adbench(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds of each set; the bars are of the sets' means."""
    own = of_site(found, "public")
    cases: list[dict[str, Any]] = [
        {"case": "ADBench", "set": name} | median(made[name] for made in own) for name in own[0]
    ]
    bars = []
    for figure in ("auroc", "ap"):
        ours, theirs = (statistics.fmean(case[f"{who}_{figure}"] for case in cases) for who in ("stack", "sklearn"))
        name = f"ADBench, mean {figure} of {len(cases)} sets: stack beside sklearn"
        bars.append(Bar(name=name, value=ours, limit=theirs, sense="at_least"))
    return cases, bars


def measure_dc(trial: Trial, data: Path) -> dict[str, Any]:
    """A real 172 kW station, its dates moved three years back, at the AC garage."""
    sessions, inputs = load("caltech", data)
    both = prepare("mixed", (pl.concat([sessions, dc_sessions(data)]), inputs), split=SPLIT, end=END, seed=trial.seed)
    dc: NDArray[np.bool_] = (both.test_features["station_id"].str.starts_with("dc-")).to_numpy()
    train = reference_matrix(both.train_features)
    usual = -reference_forest(train, trial.seed).score_samples(reference_matrix(both.test_features, train))
    return {
        "with a DC charger": figures(both.faulty, both.score),
        "with a DC charger, its own sessions": figures(both.faulty[dc], both.score[dc]) | {"sessions": int(dc.sum())},
        "without it": figures(trial.faulty, trial.score),
        "with a DC charger, reference_if": figures(both.faulty, usual),
    }


def tell_dc(found: Found) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Medians over seeds."""
    own = list(found.values())
    loss = statistics.median(made["without it"]["auroc"] - made["with a DC charger"]["auroc"] for made in own)
    return [{"case": name} | median(made[name] for made in own) for name in own[0]], [
        Bar(name="AUROC lost with the DC charger", value=loss, limit=0.02, sense="at_most")
    ]


def dc_sessions(data: Path) -> pl.DataFrame:
    """The DC station's sessions as ``schemas.SESSIONS``; it reports no end of charging and knows no drivers."""
    raw = pl.read_parquet(data / "desl_ccs_sessions_soc.parquet")
    at = [
        pl.col(name)
        .dt.offset_by("-3y")
        .dt.replace_time_zone("Europe/Zurich", ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
        for name in ("Arrival", "Departure")
    ]
    frame = raw.select(
        session_id=pl.format("dc-{}", "Session"),
        site_id=pl.lit("0002"),
        station_id=pl.format("dc-{}", "CCS"),
        time_zone=pl.lit("America/Los_Angeles"),
        arrival_at=at[0],
        departure_at=at[1],
        energy_delivered_kwh=pl.col("Energy (Wh)") / 1000,
        available_at=at[1],
    ).filter(pl.col("departure_at") > pl.col("arrival_at"))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SESSIONS.items() if name not in frame.columns]
    return conform(frame.with_columns(missing), SESSIONS).select(list(SESSIONS)).unique("session_id", keep="first")
