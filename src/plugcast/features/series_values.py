"""One session's series features: a row of them, as rules and models read it."""

from __future__ import annotations

import msgspec

from plugcast.features.series_watch import Stretch


class SeriesFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one session. NaN is not known; shares are of what they name; stretches are None where there was none."""

    session_id: str
    samples: int
    late: int
    """Samples that were not newer than those before them; not used."""
    repeats: int
    """Of these, those that say the same as the newest one did."""
    span_h: float
    gap_h: float
    """Time in silences of more than ``series_watch.GAP_S``."""
    longest_gap: Stretch | None
    interval_s: float
    """Mean distance of samples outside gaps."""

    flow_h: float
    offered_h: float
    charge_ah: float
    """Integral of the current while it flows; a sensor's offset over an idle night is no charge."""
    mean_a: float
    peak_a: float
    """The most that was held between two samples."""
    use: float
    """Current over offer, while there were both."""
    full_share: float
    """Time at 0.9 of the offer or above, of the time with both."""
    undrawn: Stretch | None
    """The longest time that the car was offered current before it ever drew; ``value`` is the offer, A."""
    over: Stretch | None
    """Current above the pilot: ``value`` A drawn, ``beside`` A offered."""
    unoffered: Stretch | None
    """Current while the pilot forbids it: ``value`` A drawn."""
    after: Stretch | None
    """Current after the plug-out: ``value`` A (NaN where only power is known), ``beside`` kW."""
    register_after_kwh: float
    """What the register counted after the plug-out."""

    pauses: int
    """Stops and restarts with the offer standing."""
    busiest_pauses: Stretch | None
    """Their busiest hour; ``value`` is their number there."""
    commanded_pauses: int
    pauses_per_h: float
    """Own pauses an hour of flow."""
    swings: int
    """Turns of the current by a fifth of the offer and more, with the offer standing."""
    busiest_swings: Stretch | None
    end_share: float
    """Current just before the last stop of its own, of what the car could have had; 1 is abrupt, 0 a full taper."""
    ended: Stretch | None
    """From the last stop of its own, if no pilot commanded it, to the last sample of the stay; ``value`` is
    ``end_share``, ``beside`` the current just before, A."""
    tail_min: float
    """From the last time near what was offered and possible to the last flow."""
    low: Stretch | None
    """The longest steady current below 0.6 of one held before: ``value`` A possible, ``beside`` A drawn."""

    register_kwh: float
    """All that the register counted, while the car was there."""
    counted_kwh: float
    """What it counted where power is known as well."""
    integral_kwh: float
    """The integral of power there."""
    doubt_kwh: float
    """By how much the integral may be wrong for want of samples."""
    energy_kwh: float
    """The integral of power wherever it is known."""
    meter_ratio: float
    """Counted over integral."""
    fall: Stretch | None
    falls: int
    jump: Stretch | None
    stuck: Stretch | None
    """The longest time of current under a register that stands still: ``value`` kWh of integral."""
    step_kwh: float
    """The register's smallest increment."""

    phases: float
    """Power over current times voltage."""
    lost: Stretch | None
    """A phase went while the offer stood: ``value`` phases before, ``beside`` then."""
    frozen: Stretch | None
    """The longest time with every reading equal, to the last digit, while current flowed."""
    most_equal: int
    """Samples in a row that said the same."""
    moved: int
    """Times that a reading changed while current flowed."""
    digest: str
    """Equal for series that are equal but for their date."""
