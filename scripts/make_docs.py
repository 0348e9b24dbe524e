"""Write the references that are made from the code: commands, settings, errors.

``make docs`` runs it before it builds the site; ``--check`` writes nothing and fails where a page is stale.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from plugcast import config, errors
from plugcast.cli.app import app
from plugcast.services.stream import asyncapi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

REFERENCE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
WIDTH: Final = 100
MADE: Final = "<!-- Made by scripts/make_docs.py; do not edit. -->"
CLI_INTRODUCTION: Final = """\
Each verb below as `plugcast VERB --help` prints it. Results go to stdout, progress and notes to stderr; with `--json`,
stdout is exactly one JSON document."""
CONFIGURATION_INTRODUCTION: Final = """\
Plugcast needs no settings. To change one, write it into `plugcast.toml` in the working directory (another file:
`--config` where a verb has it, or `PLUGCAST_CONFIG`), or set its environment variable, which wins over the file. An
unknown key is an error in both places.

```toml
[site]
name = "Depot North"
time_zone = "Europe/Oslo"
limit_kw = 90.0
```"""
ERRORS_INTRODUCTION: Final = """\
Everything that Plugcast raises on purpose comes from `plugcast.errors`; catch the branch that you can act on. A bad row
is never an exception: readers count it and keep it as a `Rejected` value with its reason."""
MESSAGES_INTRODUCTION: Final = """\
What travels through Plugcast, as one document for tools: [asyncapi.json](asyncapi.json) (AsyncAPI 3). It is made from
the types that encode and decode the messages, so that it cannot say anything else than they do.

Each message is one JSON object with its `type` and its version `v`, which is 1; another version is refused whole, and a
field that is not named here is ignored. Instants are RFC 3339 with an offset (`2026-03-02T16:04:11Z`). What is refused
goes to `ev-dead-letters` with the reason."""
EXIT_CODES: Final = """\
| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; the message on stderr says what was wanted, what was found and what to do |
| 2 | the command line was not understood |
| 3 | done, and there are findings |
"""


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command with its full name and the context that its help is drawn in, the root first."""
    yield from _walk(typer.main.get_command(app), "plugcast", None)


def _walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - typer hides click's types
    context = command.context_class(
        command,
        info_name=name.rpartition(" ")[2],
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **command.context_settings,
    )
    yield name, command, context
    for verb, child in getattr(command, "commands", {}).items():
        yield from _walk(child, f"{name} {verb}", context)


def cli_page() -> str:
    """Each command as its ``--help`` says it."""
    parts = [
        MADE,
        "# Commands",
        CLI_INTRODUCTION,
        EXIT_CODES.rstrip(),
    ]
    for name, command, context in commands():
        parts += [f"## {name}", f"```text\n{command.get_help(context).rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def configuration_page() -> str:
    """Every setting with its bounds, default and environment variable."""
    parts = [
        MADE,
        "# Settings",
        CONFIGURATION_INTRODUCTION,
    ]
    top = [(name, field) for name, field in config.Settings.model_fields.items() if _section(field) is None]
    parts += ["## Top level", *_table(config.Settings, top, prefix="")]
    for name, field in config.Settings.model_fields.items():
        section = _section(field)
        if section is not None:
            parts += [f"## [{name}]", inspect.getdoc(section) or ""]
            parts += _table(section, list(section.model_fields.items()), prefix=f"{name}.")
    return "\n\n".join(parts) + "\n"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(model: type[BaseModel], fields: list[tuple[str, FieldInfo]], *, prefix: str) -> list[str]:
    meanings = attribute_docs(model)
    rows = ["| key | default | allowed | environment | meaning |", "|---|---|---|---|---|"]
    for name, field in fields:
        variable = config.ENV_PREFIX + (prefix + name).replace(".", "__").upper()
        cells = [f"`{name}`", f"`{_toml(field.default)}`", _allowed(field), f"`{variable}`", meanings.get(name, "")]
        rows.append("| " + " | ".join(cells) + " |")
    return ["\n".join(rows)]


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(field: FieldInfo) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    bounds = [
        f"{word} {getattr(rule, key):,}"
        for key, word in words.items()
        for rule in field.metadata
        if getattr(rule, key, None) is not None
    ]
    kinds: dict[object, str] = {bool: "true or false", float: "number", int: "whole number", str: "text"}
    kind = kinds.get(field.annotation, "")
    if get_origin(field.annotation) is Literal:
        kind = ", ".join(f"`{value}`" for value in get_args(field.annotation))
    return ", ".join(filter(None, [kind, *bounds]))


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings under a model's fields, each as one line."""
    body = ast.parse(inspect.getsource(model)).body[0]
    docs: dict[str, str] = {}
    if isinstance(body, ast.ClassDef):
        for field, doc in zip(body.body, body.body[1:], strict=False):
            named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if named and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                docs[field.target.id] = " ".join(str(doc.value.value).split())  # type: ignore[attr-defined]
    return docs


def errors_page() -> str:
    """The error tree with the meaning of each class."""
    drawing = (errors.__doc__ or "").split("\n\n")[1]
    parts = [
        MADE,
        "# Errors",
        ERRORS_INTRODUCTION,
        f"```text\n{drawing}\n```",
        "| error | meaning |\n|---|---|",
    ]
    rows = [f"| `{each.__name__}` | {_first_line(each)} |" for each in error_classes()]
    return "\n\n".join(parts) + "\n" + "\n".join(rows) + "\n"


def error_classes() -> list[type[errors.PlugcastError]]:
    """The tree's classes in the order in which they are drawn."""
    return list(_below(errors.PlugcastError))


def _below(kind: type[errors.PlugcastError]) -> Iterator[type[errors.PlugcastError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _below(child)


def _first_line(kind: type[errors.PlugcastError]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def stream() -> dict[str, Any]:
    """The stream's messages as an AsyncAPI document, with what the code says of each field."""
    return asyncapi.document(attribute_docs)


def messages_page() -> str:
    """Each topic, and each message with its fields and an example."""
    document = stream()
    rows = ["| topic | key | messages | what |", "|---|---|---|---|"]
    for doc in asyncapi.TOPICS:
        tags = ", ".join(f"[`{tag}`](#{tag})" for tag in document["channels"][doc.name]["messages"])
        rows.append(f"| `{doc.name}` | `{doc.key}` | {tags} | {doc.says} |")
    bus = document["channels"][asyncapi.FINDING_CHANNEL]
    parts = [MADE, "# Messages", MESSAGES_INTRODUCTION, "## Topics", "\n".join(rows)]
    parts += ["## On RabbitMQ", f"`{bus['address']}`: {bus['description'][0].lower()}{bus['description'][1:]}"]
    schemas = document["components"]["schemas"]
    for tag, message in document["components"]["messages"].items():
        schema = schemas[message["payload"]["$ref"].rpartition("/")[2]]
        example = json.dumps(message["examples"][0]["payload"], indent=2, ensure_ascii=False)
        parts += [f"## {tag}", schema["description"], "\n".join(_fields(schema, schemas)), f"```json\n{example}\n```"]
    return "\n\n".join(parts) + "\n"


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    rows = ["| field | | allowed | meaning |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        if name not in {"type", "v"}:
            needed = "always" if name in schema["required"] else ""
            rows.append(f"| `{name}` | {needed} | {_values(field, schemas)} | {field.get('description', '')} |")
    return rows


def _values(field: dict[str, Any], schemas: dict[str, Any]) -> str:
    """A field's schema in words."""
    if "anyOf" in field:
        return " or ".join(_values(each, schemas) for each in field["anyOf"])
    if "$ref" in field:
        target = schemas[field["$ref"].rpartition("/")[2]]
        if "enum" in target:
            return ", ".join(f"`{value}`" for value in target["enum"])
        inner = (f"`{name}` ({_values(each, schemas)})" for name, each in target["properties"].items())
        return "objects of " + "; ".join(inner)
    if field["type"] == "array":
        return f"{field.get('minItems', 0)} to {field['maxItems']} {_values(field['items'], schemas)}"
    kinds = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
    kind = "instant" if field.get("format") == "date-time" else kinds.get(field["type"], field["type"])
    kind = "base64" if field.get("contentEncoding") == "base64" else kind
    bounds = []
    if "minLength" in field or "maxLength" in field:
        bounds.append(f"{field.get('minLength', 0)} to {field['maxLength']:,} characters")
    if "minimum" in field:
        bounds.append(f"from {field['minimum']:,}")
    if "maximum" in field:
        bounds.append(f"up to {field['maximum']:,}")
    return ", ".join([kind, *bounds])


def pages() -> dict[Path, str]:
    """Every made page with its content."""
    return {
        REFERENCE / "cli.md": cli_page(),
        REFERENCE / "configuration.md": configuration_page(),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "messages.md": messages_page(),
        REFERENCE / "asyncapi.json": json.dumps(stream(), indent=2, ensure_ascii=False) + "\n",
    }


def main(argv: list[str] | None = None) -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description="Write the references that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    check = parser.parse_args(argv).check
    made = pages()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.name} is stale; run: make docs", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
            print(f"Wrote docs/reference/{path.name}.", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
