"""Everything Plugcast raises on purpose; catch the branch you can act on.

PlugcastError
├── ConfigError
├── InputError
│   ├── UnreadableInputError
│   ├── MissingColumnsError
│   └── NoUsableRowsError
├── RemoteError
│   ├── RemoteUnavailableError
│   ├── RemoteRefusedError
│   └── IncompleteDownloadError
├── LogError
│   ├── LogUnavailableError
│   ├── LogFullError
│   ├── LogRefusedError
│   └── LogFencedError
├── BusError
│   ├── BusUnavailableError
│   └── UnroutableError
├── MissingExtraError
├── ModelError
│   ├── ModelNotFoundError
│   └── SpecMismatchError
├── PlanInputError
└── LeakageError

A bad *row* is never an exception: readers return it as a ``Rejected`` value, counted and kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PlugcastError(Exception):
    """The root; its message says what was wanted, what was found and what to do."""


class ConfigError(PlugcastError):
    """A setting is unknown, malformed or contradicts another."""


class InputError(PlugcastError):
    """An input as a whole cannot be used."""


class UnreadableInputError(InputError):
    """A file is missing, empty, truncated or not of its kind."""


class MissingColumnsError(InputError):
    """A table lacks columns that no alias supplies.

    Args:
        source: The table's name, for the message.
        missing: The canonical names that were wanted.
        found: The names that the table has.
        hint: What to do; by default, to rename a column.
    """

    def __init__(self, source: str, *, missing: Iterable[str], found: Iterable[str], hint: str = "") -> None:
        self.source = source
        self.missing = tuple(missing)
        self.found = tuple(found)
        wanted = ", ".join(self.missing)
        have = ", ".join(self.found) or "no columns at all"
        advice = hint or "Rename the columns, or see the table of accepted names in docs/reference/columns.md."
        super().__init__(f"{source}: wanted the column(s) {wanted}; found {have}. {advice}")


class NoUsableRowsError(InputError):
    """Every row was rejected, or there was none."""


class RemoteError(PlugcastError):
    """A remote service did not give what was asked."""


class RemoteUnavailableError(RemoteError):
    """No usable answer after all retries: trying later may help."""


class RemoteRefusedError(RemoteError):
    """The service said no (bad token, unknown site): trying again will not help."""


class IncompleteDownloadError(RemoteError):
    """Fewer records arrived than the service announced."""


class LogError(PlugcastError):
    """The log of messages did not do what was asked; what was acknowledged before is safe."""


class LogUnavailableError(LogError):
    """The log's server or file cannot be reached: trying later may help."""


class LogFullError(LogError):
    """The log has reached its bound of rows or bytes, or the disk has; nothing of the append was written."""


class LogRefusedError(LogError):
    """An entry is not one that the log takes, such as one that is too large: the same again will not help."""


class LogFencedError(LogError):
    """Another member of the group has taken over: drop what was read, close, and join again."""


class BusError(PlugcastError):
    """Messages could not be handed on; those handed on before are safe.

    Args:
        message: What happened.
        message_ids: Of the messages that are not known to be durable; to be published again.
    """

    def __init__(self, message: str, *, message_ids: Iterable[str] = ()) -> None:
        self.message_ids = frozenset(message_ids)
        super().__init__(message)


class BusUnavailableError(BusError):
    """The broker cannot be reached: trying later may help. Of what was being published, some may have arrived."""


class UnroutableError(BusError):
    """No queue wants a message, so that nobody would ever hear of it; all others of the call are durable."""


class MissingExtraError(PlugcastError):
    """An optional part is not installed.

    Args:
        package: The import that failed.
        extra: The extra that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f"{package} is not installed. Install it with: pip install 'plugcast[{extra}]'")


class ModelError(PlugcastError):
    """A model artefact cannot be used."""


class ModelNotFoundError(ModelError):
    """There is no model where one was looked for."""


class SpecMismatchError(ModelError):
    """A model was trained on other features than this version computes."""


class PlanInputError(PlugcastError):
    """A planning problem has numbers that no plan can be made from (NaN price, negative limit)."""


class LeakageError(PlugcastError):
    """Code asked for something that was not known at its origin."""
