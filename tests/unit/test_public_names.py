"""The public face is complete, sorted, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import plugcast

FREE = {"plugcast", "__future__"}
"""What ``import plugcast`` may load beyond a bare interpreter; even ``typing`` doubles the cost of starting."""


def test_all_is_sorted_and_complete() -> None:
    assert list(plugcast.__all__) == sorted(plugcast.__all__)
    assert set(plugcast.__all__) == {*plugcast._HOMES, "__version__"}
    assert dir(plugcast) == sorted(plugcast.__all__)


@pytest.mark.parametrize("name", sorted(plugcast._HOMES))
def test_every_public_name_loads_from_its_home(name: str) -> None:
    value = getattr(plugcast, name)
    assert value.__name__ == name
    assert value.__module__ == plugcast._HOMES[name]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        plugcast.nonsense  # noqa: B018 - the access is the test


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import plugcast; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) - FREE == set()
