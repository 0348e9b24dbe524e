"""The drawing in the docstring is the tree, and messages say what to do."""

from __future__ import annotations

import inspect

import pytest

from plugcast import errors
from plugcast.errors import MissingColumnsError, MissingExtraError, PlugcastError


def _drawn() -> list[tuple[int, str]]:
    """Depth and name of each line of the drawing."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    names = []
    for line in drawing.splitlines():
        name = line.lstrip("│├└─ ")
        names.append(((len(line) - len(name)) // 4, name))
    return names


def _defined(kind: type[PlugcastError], depth: int = 0) -> list[tuple[int, str]]:
    below = [
        line
        for child in kind.__subclasses__()
        if child.__module__ == errors.__name__
        for line in _defined(child, depth + 1)
    ]
    return [(depth, kind.__name__), *below]


def test_the_drawing_is_the_tree() -> None:
    assert _drawn() == _defined(PlugcastError)


def test_every_exception_of_the_module_hangs_on_the_tree() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, BaseException)]
    assert {each.__name__ for each in classes} == {name for _, name in _drawn()}


def test_every_class_says_what_it_means() -> None:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    assert [each.__name__ for each in classes if not each.__dict__.get("__doc__")] == []


def test_missing_columns_names_what_was_wanted_and_what_was_found() -> None:
    error = MissingColumnsError("cars.csv", missing=["soc", "timestamp"], found=["a", "b"])
    assert str(error).startswith("cars.csv: wanted the column(s) soc, timestamp; found a, b. ")
    assert (error.source, error.missing, error.found) == ("cars.csv", ("soc", "timestamp"), ("a", "b"))


def test_missing_columns_of_an_empty_table_says_so_and_takes_a_hint() -> None:
    error = MissingColumnsError("cars.csv", missing=["soc"], found=[], hint="Export it again.")
    assert "found no columns at all. Export it again." in str(error)


def test_missing_extra_gives_the_install_line() -> None:
    with pytest.raises(PlugcastError, match=r"pip install 'plugcast\[kafka\]'"):
        raise MissingExtraError("confluent_kafka", "kafka")
