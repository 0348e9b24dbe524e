"""One frozen tree of settings, from a TOML file and the environment; an unknown key is an error.

Order of precedence: arguments, environment (``PLUGCAST__SERVER__PORT=8080``), the file, the defaults.
The file is ``plugcast.toml`` in the working directory unless ``--config`` or ``PLUGCAST_CONFIG`` names another.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from plugcast.errors import ConfigError
from plugcast.handwritten import read_bytes

ENV_PREFIX = "PLUGCAST__"
DEFAULT_FILE = "plugcast.toml"
_SECRETS = frozenset({"stream.bus", "kafka.password", "kafka.key_password", "mail.password", "webhook.secret"})
"""Never shown, not even where they could not be taken."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone; write one like 'Europe/Oslo' or 'UTC'") from error
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SiteSettings(_Section):
    """The place that is forecast and planned for."""

    name: str = "site"
    """As shown on the page and in reports."""
    time_zone: TimeZone = "UTC"
    """IANA name; local hours and days of the week are taken in it."""
    limit_kw: float | None = Field(default=None, gt=0, le=1_000_000)
    """Most that may be drawn from the grid, kW; left out, the demo takes 60 % of the uncontrolled peak."""
    pv_peak_kw: float = Field(default=0.0, ge=0, le=1_000_000)
    """Rating of the PV array, kW; 0 = none."""


class FeatureSettings(_Section):
    """How raw samples become features."""

    gap_limit_min: float = Field(default=240.0, gt=0, le=10_080)
    """A longer silence than this separates two segments; nothing is computed across it."""
    min_rows: int = Field(default=20, ge=1)
    """Vehicles with fewer samples are left out of training."""


class ForecastSettings(_Section):
    """What is forecast and how models are trained."""

    lead_min: float = Field(default=15.0, ge=1, le=2_880)
    """Lead of the two short models, minutes."""
    tolerance_min: float = Field(default=5.0, gt=0, le=60)
    """How far from origin + lead a sample may lie to count as its outcome."""
    test_share: float = Field(default=0.2, gt=0, lt=0.9)
    """The last part of the time span, kept for the metrics."""
    unseen_share: float = Field(default=0.2, ge=0, lt=0.9)
    """The part of the vehicles that training never sees."""
    max_rows: int = Field(default=400_000, ge=1_000)
    """Training rows at most; more are thinned evenly in time per vehicle."""


class DetectSettings(_Section):
    """How many alarms an operator wants."""

    alarms_per_station_week: float = Field(default=0.1, gt=0, le=100)
    """Budget of the model's findings; broken rules come on top."""


class StreamSettings(_Section):
    """Where messages pass through."""

    log: str = Field(default="plugcast.journal", min_length=1)
    """File of a journal on this machine, or ``kafka://host:port[,host:port]``."""
    bus: SecretStr = SecretStr("")
    """Where findings are published: ``amqp://user:password@host:port/vhost``, or ``amqps://``. Best set through the
    environment, ``PLUGCAST__STREAM__BUS``. Left empty, publisher and alerts run in one process without a broker."""
    unroutable: Literal["wait", "drop"] = "wait"
    """A finding that no queue of the bus wants waits for one, holding up those after it, or is dropped and counted."""
    health_port: int = Field(default=0, ge=0, le=65_535)
    """Where a service tells its health and metrics; 0 takes a free port and says which."""
    batch: int = Field(default=1_000, ge=1, le=100_000)
    """Most messages in one transaction."""
    idle_s: float = Field(default=30.0, gt=0, le=86_400)
    """A partition that is silent for so long does not keep the others waiting for their midnight."""


class KafkaSettings(_Section):
    """How a Kafka cluster is reached where ``stream.log`` names one."""

    prefix: str = Field(default="", max_length=100)
    """Before the name of every topic and group, where a cluster serves several purposes: ``depot-north.``"""
    protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """With TLS (``ssl``) or without it, with a user name and password (``sasl``) or without."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is proved."""
    username: str = ""
    """For the two ``sasl`` protocols."""
    password: SecretStr = SecretStr("")
    """Best set through the environment, ``PLUGCAST__KAFKA__PASSWORD``."""
    ca_file: str = ""
    """Certificates to believe; the system's where empty."""
    certificate_file: str = ""
    """Our own certificate, for brokers that ask for one."""
    key_file: str = ""
    """Its key."""
    key_password: SecretStr = SecretStr("")
    """Of the key; best set through the environment, ``PLUGCAST__KAFKA__KEY_PASSWORD``."""
    answer_s: float = Field(default=30.0, gt=0, le=600)
    """After so long without an answer the cluster counts as unreachable."""
    session_s: float = Field(default=6.0, ge=1, le=300)
    """A member that was not heard of for so long is given up, and its partitions to others."""
    processing_s: float = Field(default=120.0, ge=1, le=3_600)
    """A member that takes so long between two polls is given up, too."""
    transaction_s: float = Field(default=10.0, ge=1, le=600)
    """A transaction whose member has died is aborted after so long; until then its readers wait."""


class AlertSettings(_Section):
    """When people are told, and what is kept of it."""

    outbox: str = Field(default="plugcast.outbox", min_length=1)
    """File that keeps alerts, and notifications until they are sent."""
    least_severity: Literal["info", "warning", "critical"] = "warning"
    """Findings below it make no alert."""
    hold_s: float = Field(default=3.0, ge=0, le=3_600)
    """A new alert waits so long for others that belong to it."""
    repeat_h: float = Field(default=24.0, gt=0, le=8_760)
    """An alert that goes on is told again after this at the earliest."""
    outage_stations: int = Field(default=4, ge=2, le=10_000)
    """So many stations of one site within a quarter of an hour are told as one outage."""


class MailSettings(_Section):
    """Mail over SMTP; nothing is sent while ``host`` or ``to`` is empty."""

    host: str = ""
    """The server's name or address."""
    port: int = Field(default=587, ge=1, le=65_535)
    """587 for STARTTLS, 465 for TLS from the start, 25 within a closed network."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is secured."""
    username: str = ""
    """Empty for a server that wants none."""
    password: SecretStr = SecretStr("")
    """Best set through the environment, ``PLUGCAST__MAIL__PASSWORD``."""
    sender: str = "plugcast@localhost.localdomain"
    """Where mails come from."""
    to: tuple[str, ...] = ()
    """Who gets them."""

    @field_validator("to", mode="before")
    @classmethod
    def _listed(cls, given: object) -> object:
        """The environment has text: addresses with commas between."""
        return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


class WebhookSettings(_Section):
    """A signed webhook; nothing is sent while ``url`` is empty."""

    url: str = ""
    """Address that notifications are posted to."""
    secret: SecretStr = SecretStr("")
    """Shared with the receiver, at least 16 bytes. Best set through the environment, ``PLUGCAST__WEBHOOK__SECRET``."""


class ServerSettings(_Section):
    """Where the page and the API listen."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but the loopback address shows the page to the network."""
    port: int = Field(default=8765, ge=0, le=65_535)
    """0 takes a free port."""


class Settings(_Section):
    """All of it."""

    site: SiteSettings = SiteSettings()
    features: FeatureSettings = FeatureSettings()
    forecast: ForecastSettings = ForecastSettings()
    detect: DetectSettings = DetectSettings()
    stream: StreamSettings = StreamSettings()
    kafka: KafkaSettings = KafkaSettings()
    alerts: AlertSettings = AlertSettings()
    mail: MailSettings = MailSettings()
    webhook: WebhookSettings = WebhookSettings()
    server: ServerSettings = ServerSettings()
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads for training; 0 takes what the machine's CPU quota allows."""


def load(path: Path | None = None, *, environ: dict[str, str] | None = None) -> Settings:
    """Read the settings tree.

    Raises:
        ConfigError: The file is missing or malformed, a key is unknown or a value out of bounds; the message names it.
    """
    env = dict(os.environ) if environ is None else environ
    named = path or (Path(env["PLUGCAST_CONFIG"]) if env.get("PLUGCAST_CONFIG") else None)
    tree: dict[str, Any] = _read_file(named) if named else _read_file(Path(DEFAULT_FILE), required=False)
    for name, text in sorted(env.items()):
        if name.startswith(ENV_PREFIX):
            _put(tree, name.removeprefix(ENV_PREFIX).lower().split("__"), text, name)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(issue) for issue in error.errors()]
        raise ConfigError("Settings: " + "; ".join(lines)) from error


def _read_file(path: Path, *, required: bool = True) -> dict[str, Any]:
    if not path.exists():
        if required:
            raise ConfigError(f"Settings file {path} was not found. Create it, or leave --config out for the defaults.")
        return {}
    try:
        return tomllib.loads(read_bytes(path, what="Settings file").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Settings file {path} is not valid TOML: {error}") from error


def _put(tree: dict[str, Any], keys: list[str], text: str, name: str) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"Settings: {name} looks for a section where there is a value.")
    tree[keys[-1]] = text


def _explain(issue: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails is a loose mapping
    where = ".".join(str(part) for part in issue["loc"])
    if issue["type"] == "extra_forbidden":
        return f"unknown key {where!r}"
    found = "a secret" if where.startswith(tuple(_SECRETS)) else repr(issue["input"])
    return f"{where}: {issue['msg']} (found {found})"
