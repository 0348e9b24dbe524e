"""What the README and the documents show is what happens.

Every ``python`` block runs, those of one file in one namespace and one empty directory, in order; blocks with prompts
run as doctests. A ``console`` block runs where ``<!-- run -->`` stands above it; each of its ``$ plugcast ...`` lines
must end with 0, or with N under ``<!-- run exit=N -->``; ``<!-- skip: why -->`` keeps a block from running.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<mark>`{3,})(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=mark)\s*$", re.DOTALL | re.MULTILINE)
DIRECTIVE = re.compile(r"<!--\s*(run|skip)\b((?:(?!-->).)*)-->\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block with the directive above it."""

    language: str
    code: str
    line: int
    directive: str
    options: str

    @property
    def expected_exit(self) -> int:
        found = re.search(r"exit=(\d+)", self.options)
        return int(found[1]) if found else 0

    def runs(self) -> bool:
        """Whether the block is executed."""
        if self.directive == "skip":
            return False
        return self.language == "python" or (self.language == "console" and self.directive == "run")


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page."""
    found = []
    for match in FENCE.finditer(text):
        directive = DIRECTIVE.search(text[: match.start()])
        found.append(
            Block(
                language=match["language"],
                code=match["code"],
                line=text[: match.start()].count("\n") + 2,
                directive=directive[1] if directive else "",
                options=directive[2] if directive else "",
            )
        )
    return found


def commands(code: str) -> list[list[str]]:
    """The arguments of each ``$ plugcast ...`` line; a backslash at its end continues it."""
    lines = re.sub(r"\\\n\s*>?\s*", " ", code).splitlines()
    typed = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ")]
    return [words[1:] for words in typed if words[:1] == ["plugcast"]]


def _pages_to_run() -> list[Any]:
    cases = []
    for page in PAGES:
        to_run = [block for block in blocks(page.read_text(encoding="utf-8")) if block.runs()]
        if to_run:
            cases.append(pytest.param(page, to_run, id=str(page.relative_to(ROOT))))
    return cases


@pytest.mark.slow
@pytest.mark.parametrize(("page", "to_run"), _pages_to_run())
def test_the_blocks_of_a_page_run(
    page: Path, to_run: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in to_run:
        if block.language == "console":
            _run_console(block, page)
        elif ">>>" in block.code:
            _run_doctest(block, page, namespace)
        else:
            # the blank lines make a traceback point into the page
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)  # noqa: S102 - our own pages


def _run_console(block: Block, page: Path) -> None:
    found = commands(block.code)
    assert found, f"{page.name}:{block.line} is marked to run and shows no '$ plugcast' line"
    for arguments in found:
        program = [sys.executable, "-c", "from plugcast.cli.app import main; main()", *arguments]
        done = subprocess.run(program, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        shown = f"{page.name}:{block.line} $ plugcast {shlex.join(arguments)}"
        assert done.returncode == block.expected_exit, f"{shown}\n{done.stdout}\n{done.stderr}"


def _run_doctest(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, str(page), block.line - 1)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    runner.run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)
    assert runner.failures == 0, "".join(report)


PAGE = """\
Text.

```python
x = 1
```

<!-- skip: needs a broker -->
```python
raise SystemExit
```

<!-- run exit=3 -->

```console
$ plugcast detect a.csv \\
>     --json  # a comment
Some output with $ plugcast inside.
$ ls
```

```console
$ plugcast nonsense
```
"""


def test_blocks_are_found_with_their_directives() -> None:
    found = blocks(PAGE)
    assert [(block.language, block.runs()) for block in found] == [
        ("python", True),
        ("python", False),
        ("console", True),
        ("console", False),
    ]
    assert found[2].expected_exit == 3
    assert commands(found[2].code) == [["detect", "a.csv", "--json"]]
    assert PAGE.splitlines()[found[0].line - 1] == "x = 1"


def test_a_wrong_page_fails(tmp_path: Path) -> None:
    block = Block(language="python", code=">>> 1 + 1\n3\n", line=1, directive="", options="")
    with pytest.raises(AssertionError, match="Expected:"):
        _run_doctest(block, tmp_path / "page.md", {})
    block = Block(language="console", code="$ plugcast nonsense\n", line=1, directive="run", options="")
    with pytest.raises(AssertionError, match="nonsense"):
        _run_console(block, tmp_path / "page.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_names_its_language(page: Path) -> None:
    assert [block.line for block in blocks(page.read_text(encoding="utf-8")) if not block.language] == []
