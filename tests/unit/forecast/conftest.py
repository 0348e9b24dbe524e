from __future__ import annotations

import pytest

from plugcast.features.spec import FeatureSpec
from plugcast.forecast.panel import Panel, panel
from plugcast.simulate.telemetry import GeneratorSpec, generate


@pytest.fixture(scope="session")
def fleet() -> Panel:
    """Thirty generated vehicles over two weeks."""
    return panel(generate(GeneratorSpec(vehicles=30, days=14, seed=7)), FeatureSpec())
