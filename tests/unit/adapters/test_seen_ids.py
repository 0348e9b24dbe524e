"""Ids seen: exactly a set, durable with its effect, bounded in age and number."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugcast.adapters.subscriber.seen_ids import SeenIds
from plugcast.errors import LogUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IDS = st.lists(st.sampled_from("abcdefgh"), max_size=6)


@given(steps=st.lists(st.tuples(st.booleans(), IDS), max_size=20))
def test_it_is_a_set(steps: list[tuple[bool, list[str]]]) -> None:
    seen, oracle = SeenIds.at(":memory:"), set[str]()
    for marks, ids in steps:
        assert seen.unseen(ids) == [name for name in dict.fromkeys(ids) if name not in oracle]
        if marks:
            seen.mark(ids, now=NOW)
            oracle |= set(ids)
    seen.close()


def test_more_than_sqlite_takes_at_once() -> None:
    seen = SeenIds.at(":memory:")
    names = [f"id-{number}" for number in range(5_000)]
    seen.mark(names[::2], now=NOW)
    assert seen.unseen(names) == names[1::2]


def test_it_outlives_its_process(tmp_path: Path) -> None:
    first = SeenIds.at(tmp_path / "seen.sqlite")
    first.mark(["a"], now=NOW)
    first.close()
    assert SeenIds.at(tmp_path / "seen.sqlite").unseen(["a", "b"]) == ["b"]


def test_an_effect_that_is_undone_was_not_seen() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    seen = SeenIds(connection)
    connection.execute("CREATE TABLE effects (name TEXT)")
    for end in ("ROLLBACK", "COMMIT"):
        connection.execute("BEGIN IMMEDIATE")
        assert seen.unseen(["a"]) == ["a"]
        connection.execute("INSERT INTO effects VALUES ('a')")
        seen.mark(["a"], now=NOW)
        connection.execute(end)
    assert connection.execute("SELECT count(*) FROM effects").fetchone() == (1,)
    assert seen.unseen(["a"]) == []


def test_the_old_and_the_many_are_forgotten() -> None:
    seen = SeenIds.at(":memory:", keep=timedelta(days=2), most=3)
    seen.mark(["a"], now=NOW)
    seen.mark(["b", "c"], now=NOW + timedelta(days=1))
    assert seen.unseen("abc") == []
    seen.mark(["d"], now=NOW + timedelta(days=1, hours=1))
    assert seen.unseen("abcd") == ["a"]
    seen.mark(["e"], now=NOW + timedelta(days=3, minutes=30))
    assert seen.unseen("abcde") == ["a", "b", "c"]


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "seen").write_bytes(b"no database" * 1_000)
    with pytest.raises(LogUnavailableError, match="seen"):
        SeenIds.at(tmp_path / "seen")
    with pytest.raises(ValueError, match="at least one"):
        SeenIds.at(":memory:", most=0)
