# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# ruff: noqa: INP001, D100, T201, PLR2004, ERA001 - a notebook, whose cells print and teach

# %% [markdown]
# # What do charging data look like?
#
# Two kinds of data go into Plugcast: **sessions** (a car arrives, takes energy, leaves) and **telemetry** (a vehicle
# reports its charge and plug state, when it likes). This page looks at one of each: a real month of a workplace garage,
# which comes with the package, and a generated fleet. Everything runs in a minute without the network.

# %%
from datetime import UTC, datetime, timedelta

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

from plugcast.features.occupancy import plug_states, sessions_of
from plugcast.features.spec import FeatureSpec
from plugcast.services.report_figures import INK, MUTED, dress
from plugcast.services.showcase import shipped
from plugcast.simulate.telemetry import GeneratorSpec, generate

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %% [markdown]
# ## A real month: 954 sessions at Caltech, March 2019
#
# ACN-Data (Lee, Li, Low 2019) by way of caltech-netlab/acnportal-experiments, (c) 2019 California Institute of
# Technology, BSD-3-Clause. Times are UTC; habits follow the local clock, so everything is turned to Pasadena's first.

# %%
shown = shipped(datetime(2026, 1, 1, tzinfo=UTC))
zone = shown.time_zone
sessions = shown.read.sessions.with_columns(
    arrival=pl.col("arrival_at").dt.convert_time_zone(zone),
    stay_h=(pl.col("departure_at") - pl.col("arrival_at")).dt.total_seconds() / 3600,
    energy_kwh="energy_delivered_kwh",
).with_columns(
    hour=pl.col("arrival").dt.hour() + pl.col("arrival").dt.minute() / 60,
    working_day=pl.col("arrival").dt.weekday() <= 5,
)
counts = shown.read.counts
print(f"{counts.read} rows read, {counts.accepted} accepted, {counts.rejected} rejected; {zone}")
sessions.select("stay_h", "energy_kwh", "hour").describe(percentiles=(0.1, 0.5, 0.9))

# %% [markdown]
# ### People arrive between 7 and 10 and stay for the working day
#
# That regularity is what a forecast of availability lives on. Weekends are another world: fewer cars, at any hour.

# %%
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for working, colour, label in ((True, BLUE, "Monday to Friday"), (False, ORANGE, "weekend")):
    part = sessions.filter(pl.col("working_day") == working)
    left.hist(part["hour"], bins=np.arange(25), color=colour, alpha=0.75, label=label)
    middle.hist(part["stay_h"].clip(upper_bound=16), bins=np.arange(17), color=colour, alpha=0.75)
    right.hist(part["energy_kwh"].clip(upper_bound=40), bins=np.arange(0, 42, 2), color=colour, alpha=0.75)
dress(left, x="local hour of arrival", y="sessions", title="Arrivals")
dress(middle, x="hours (the last bar: 15 and more)", title="Stays")
dress(right, x="kWh (the last bar: 38 and more)", title="Energy taken")
left.legend(frameon=False, fontsize=8.5)
plt.show()

# %% [markdown]
# ### How long a car stays says little of how much it takes
#
# The dashed line is a full stay at 6.6 kW. Most cars are far below it: they are done long before they leave. The gap is
# what planning can shift.

# %%
fig, axes = plt.subplots(figsize=(6.5, 4), layout="constrained")
axes.scatter(sessions["stay_h"], sessions["energy_kwh"], s=9, alpha=0.5, color=BLUE)
axes.plot([0, 8], [0, 8 * 6.6], color=MUTED, linestyle="--", linewidth=1, label="6.6 kW all the time")
axes.set(xlim=(0, 16), ylim=(0, 60))
dress(axes, x="stay, h", y="energy delivered, kWh", title="Stay and energy of each session")
axes.legend(frameon=False, fontsize=8.5)
both = sessions.select(pl.corr("stay_h", "energy_kwh", method="spearman")).item()
print(f"rank correlation of stay and energy: {both:.2f}")

# %% [markdown]
# ### The same month as plug states
#
# Each station on a grid of quarter hours, as it was known at each instant: this is what the 48-hour model is trained
# on. The mean over stations is the garage's occupancy.

# %%
start = sessions["arrival_at"].min().replace(minute=0)
states = plug_states(shown.read.sessions, start, sessions["arrival_at"].max())
local = states.with_columns(pl.col("timestamp").dt.convert_time_zone(zone).alias("local"))
profile = (
    local.group_by(pl.col("local").dt.weekday().alias("day"), pl.col("local").dt.hour().alias("hour"))
    .agg(pl.col("is_plugged_in").mean())
    .sort("day", "hour")
)
grid = profile["is_plugged_in"].to_numpy().reshape(7, 24) * 100
fig, axes = plt.subplots(figsize=(9, 3), layout="constrained")
image = axes.imshow(grid, aspect="auto", cmap="cividis", vmin=0)
axes.set_yticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
axes.set_xlabel("local hour", color=MUTED)
axes.set_title("Stations taken, % of those seen so far", loc="left", fontsize=10, color=INK, fontweight="bold")
fig.colorbar(image, label="%")
plt.show()

# %% [markdown]
# ## Telemetry is irregular
#
# A generated fleet (seed 42): a sample every 1 to 10 minutes, and silences of hours to a day. Models may compute
# nothing across a silence of more than 240 minutes, and an outcome is taken by the clock, never by counting rows.

# %%
fleet = generate(GeneratorSpec(vehicles=30, days=21))
apart = fleet.select((pl.col("timestamp").diff().over("asset_id").dt.total_seconds() / 60).alias("minutes"))
apart = apart["minutes"].drop_nulls()
silent = apart.filter(apart > 240)
four_rows = fleet.select(
    ((pl.col("timestamp").shift(-4) - pl.col("timestamp")).over("asset_id").dt.total_seconds() / 60).alias("minutes")
)["minutes"].drop_nulls()
print(f"{fleet.height:,} samples of {fleet['asset_id'].n_unique()} vehicles; {len(silent)} silences of over 4 h")
print(f"share of the time inside them: {silent.sum() / apart.sum():.0%}")
print(f"'four rows later' is {four_rows.quantile(0.05):.0f} to {four_rows.quantile(0.95):.0f} min later (5 to 95 %)")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
left.hist(apart.filter(apart <= 15), bins=np.arange(0.5, 16), color=BLUE)
dress(left, x="minutes since the previous sample", y="samples", title="Between samples")
right.hist(silent / 60, bins=np.arange(4, 26), color=ORANGE)
dress(right, x="hours", y="silences", title="Silences of more than four hours")
plt.show()

# %% [markdown]
# ### A fleet's visits
#
# From the first sample plugged in to the first one that is not; a silence ends a visit at its last sample. Cars that
# stood plugged in when the data begin have no known arrival and are left out.

# %%
visits = sessions_of(fleet, FeatureSpec(), site_id="fleet").drop_nulls("departure_at")
visits = visits.filter(pl.col("arrival_at") > fleet["timestamp"].min() + timedelta(hours=1))
stay = (visits["departure_at"] - visits["arrival_at"]).dt.total_seconds() / 3600
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
left.hist(visits["arrival_at"].dt.hour(), bins=np.arange(25), color=GREEN)
dress(left, x="hour of plug-in (UTC)", y="visits", title=f"{visits.height} visits")
right.scatter(stay, visits["energy_delivered_kwh"], s=8, alpha=0.5, color=GREEN)
right.set(xlim=(0, 24))
dress(right, x="stay, h", y="energy, kWh", title="Stay and energy")
plt.show()

# %% [markdown]
# Next: [evaluation](evaluation.py) trains on such a fleet and asks how good the forecasts are.
