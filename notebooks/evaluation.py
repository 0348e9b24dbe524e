# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# ruff: noqa: INP001, D100, T201, ERA001, ANN001, ARG002 - a notebook, whose cells print and teach

# %% [markdown]
# # How good are the forecasts?
#
# A forecast is worth what it adds to two that cost nothing: **persistence** (the state stays) and the **hour of the
# week** (what this vehicle usually does then). Below, the 48-hour model stands beside both, and beside their logistic
# **blend**, on time that it had not seen. The fleet is generated and small so that this page runs in a minute; read its
# figures for the method. Your own: `plugcast backtest --telemetry FILE --out report.html`.

# %%
import numpy as np
import polars as pl

from plugcast.config import Settings
from plugcast.errors import LeakageError
from plugcast.features.spec import FeatureSpec
from plugcast.forecast.availability import AvailabilitySpec
from plugcast.forecast.backtest import Forecast, Window, run
from plugcast.forecast.boosting import Boosting
from plugcast.forecast.folds import later_time
from plugcast.forecast.horizon import HorizonSpec
from plugcast.ports import TelemetryRead
from plugcast.services import report_figures as pictures
from plugcast.services.backtesting import Plan, of_telemetry, run_backtest
from plugcast.simulate.telemetry import GeneratorSpec, generate

# %matplotlib inline
fleet = generate(GeneratorSpec(vehicles=40, days=28, seed=11))
print(f"{fleet.height:,} samples of {fleet['asset_id'].n_unique()} vehicles")

# %% [markdown]
# ## Rolling origin
#
# Two folds: at the start of each the model is trained on what was **available** then. Afterwards some forecasts are
# repeated from data cut at their own origin; they must come out the same.

# %%
small = HorizonSpec(
    max_rows=30_000,
    anchors_min=(15, 60, 360, 1440, 2880),
    anchor_rows=10_000,
    plug=AvailabilitySpec(trees=Boosting(rounds=60, leaves=6, min_leaf_rows=300)),
    boosting=Boosting(rounds=60, leaves=15),
)
plan = Plan(folds=2, leads_min=(15.0, 60.0, 360.0, 1440.0, 2880.0), most_rows=6_000, model=small)
tested = run_backtest(of_telemetry(TelemetryRead(samples=fleet), Settings(), source="generated"), plan)
pl.DataFrame(
    [
        {
            "lead": pictures.lead_name(row["lead_min"]),
            **{f"Brier {name}": round(each["brier"].value, 4) for name, each in row["plug"].items()},
            "AUC": round(row["plug"]["model"]["auc"], 3),
            "mean gap": round(row["plug"]["model"]["ece"], 3),
            "energy MAE %": round(row["energy"]["model"]["mae_pct"].value, 2),
            "in the 80 % band": round(row["energy"]["model"]["coverage_80"].value, 2),
        }
        for row in tested.document["leads"]
    ]
)

# %% [markdown]
# Bands and whiskers are 95 % intervals of a bootstrap that draws whole vehicles and whole days: samples of one car on
# one day are alike and must not be counted as independent.

# %%
print(pictures.skill_title(tested.document))
pictures.by_lead(tested.document)

# %% [markdown]
# ## Do stated chances come true?
#
# Of all moments for which the model said "70 %", 70 % should see the car plugged in.

# %%
print(pictures.reliability_title(tested.document))
pictures.reliability(tested.document)

# %% [markdown]
# ## How far from full?

# %%
print(pictures.energy_title(tested.document))
pictures.energy(tested.document)

# %% [markdown]
# ## 48 hours ahead
#
# A well, a typically and a badly forecast vehicle, by rank of their score. The black line breaks where the car was
# silent.

# %%
pictures.fans(tested.fans, "UTC")

# %% [markdown]
# ## A model that cheats is caught
#
# This one reads the next row of the data. Its score would be splendid; the audit refuses it.


# %%
class Cheat:
    """Knows the next sample."""

    name = "cheat"

    def fit(self, window: Window) -> "Cheat":
        """Nothing to learn."""
        return self

    def forecast(self, known, row, lead_min) -> Forecast:
        """What the vehicle's next sample will say."""
        return Forecast(plug_probability=known.soc[np.minimum(row + 1, known.rows - 1)] / 100)


first, last = fleet["available_at"].min(), fleet["available_at"].max()
try:
    run(fleet, FeatureSpec(), later_time(first, last, folds=1), [Cheat()], leads_min=(60.0,))
except LeakageError as error:
    print(error)
