from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugcast.adapters.journal import JournalLog
from plugcast.adapters.kafka import KafkaLog, Security
from plugcast.config import KafkaSettings, load
from plugcast.errors import ConfigError
from plugcast.services.stream.places import open_log

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_a_journal_and_an_address_a_cluster(tmp_path: Path) -> None:
    journal = open_log(str(tmp_path / "stream.journal"))
    assert isinstance(journal, JournalLog)
    journal.close()
    for place in ("kafka://broker-1:9092,broker-2:9092", "kafka://127.0.0.1:9092/"):
        assert isinstance(open_log(place), KafkaLog)  # connects when it is asked something


@pytest.mark.parametrize(
    "place", ["kafka://", "kafka://host", "kafka://user:secret@host:9092", "kafka://a:1,", "http://host:80"]
)
def test_an_address_that_cannot_be_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match="wanted"):
        open_log(place)


def test_a_user_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"kafka\.username"):
        open_log("kafka://host:9092", kafka=KafkaSettings(protocol="sasl_ssl"))


def test_secrets_are_never_shown() -> None:
    settings = load(environ={"PLUGCAST__KAFKA__PASSWORD": "hunter2", "PLUGCAST__KAFKA__USERNAME": "depot"}).kafka
    assert "hunter2" not in repr(settings)
    assert settings.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(Security(username="depot", password="hunter2"))  # noqa: S106 - not one
    with pytest.raises(ConfigError, match="a secret") as raised:
        load(environ={"PLUGCAST__KAFKA__PASSWORD__DEEPER": "hunter2"})
    assert "hunter2" not in str(raised.value)
