"""The documentation: every command runs or at least parses, every quoted message is printed by the
code, every link leads somewhere.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
import onnx
import pytest

from conformance.cli import lpcvc
from conformance.selftest.gate import outside_xdist
from conformance.selftest.models import conforming, write
from conformance.selftest.outside import write_pictures, write_titled
from conformance.selftest.packages import write_folder, zipped
from conformance.selftest.test_gate import save_mutant
from reference.data import fixture
from reference.registry import default_tracks
from reference.retrieval.contract import RETRIEVAL_2026

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md", README]
BLOCK = re.compile(r"(?P<marks>(?:^<!--.*?-->\n)*)^```console\n(?P<body>.*?)^```", re.M | re.S)
MARK = re.compile(
    r"<!-- (?P<word>not run here: \S.*|slow|exit (?P<code>\d)|needs (?P<package>\w+))( -->)"
)
# What a reader has beside the suite; their options are not the suite's to check.
OTHER_PROGRAMS = {"pip", "qai-hub", "ray", "tox"}
MOST_PICTURE_BYTES = 1_000_000


@dataclass(frozen=True)
class Block:
    """The commands of one fenced block, and what the comments ahead of it say."""

    page: str
    line: int
    commands: tuple[str, ...]
    printed: tuple[str, ...]
    reason: str
    slow: bool
    code: int
    needs: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == text.count("```console"), f"{path.name}: hidden blocks"
        assert not re.search("```(bash|sh|shell)", text), f"{path.name}: write ```console"
        for found in BLOCK.finditer(text):
            marks = [MARK.fullmatch(line) for line in found["marks"].splitlines()]
            assert all(marks), f"{path.name}: a comment that means nothing: {found['marks']}"
            words = [mark["word"] for mark in marks if mark]
            lines = found["body"].splitlines()
            commands = [line for line in lines if line.startswith("$ ")]
            yield Block(
                path.relative_to(ROOT).as_posix(),
                text.count("\n", 0, found.start("body")),
                tuple(line.removeprefix("$ ") for line in commands),
                tuple(line for line in lines if line not in commands),
                next(
                    (w for w in words if w.startswith("not run")), "" if path != README else "short"
                ),
                "slow" in words,
                next((int(mark["code"]) for mark in marks if mark and mark["code"]), 0),
                tuple(mark["package"] for mark in marks if mark and mark["package"]),
            )


BLOCKS = list(blocks())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documents speak of, all small and conforming but for `broken.onnx`."""
    folder = tmp_path_factory.mktemp("docs")
    write(RETRIEVAL_2026, folder)
    shutil.copy(folder / "image.onnx", folder / "a.onnx")
    shutil.copy(folder / "text.onnx", folder / "b.onnx")
    single = {name: name for name, track in default_tracks().items() if len(track.parts) == 1}
    for name, track in {"my": "depth", **single}.items():
        onnx.save(conforming(track), folder / f"{name}.onnx")
    save_mutant("depth up to 1.001", folder / "broken.onnx")
    (folder / "submissions").mkdir()
    for name in ("blue", "green"):
        shutil.copy(folder / "my.onnx", folder / "submissions" / f"{name}.onnx")
    shutil.copytree(fixture("photos"), folder / "my_pictures", ignore=_not_pictures)
    data = {"my_data": "depth", "my_texts": "retrieval", "my_clips": "action", "my_images": "aigc"}
    for name, track in data.items():
        shutil.copytree(fixture("samples") / track, folder / name)
    zipped(write_folder(folder))
    write_pictures(folder / "my_bright")
    measured = [{"model": "my.onnx", "device": "Samsung Galaxy S24", "ms": 2.5}]
    (folder / "measured.json").write_text(json.dumps(measured))
    (folder / "captions.txt").write_text("a cat\na cup of coffee\n")
    return folder


def marks(block: Block) -> list[pytest.MarkDecorator]:
    missing = [name for name in block.needs if find_spec(name) is None]
    skipped = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
    return [skipped, *([pytest.mark.slow] if block.slow else [])]


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=marks(block), id=block.id) for block in BLOCKS if not block.reason],
)
def test_commands_run(block: Block, shelf: Path, tmp_path: Path) -> None:
    """In a folder with the files that the pages speak of, one after the other; what the page
    shows of their output they print, with anything for an ellipsis; an exit code is the last one's.
    """
    work = tmp_path / "work"
    out = ""
    shutil.copytree(shelf, work, copy_function=os.link)
    installed = write_titled(ROOT / block.page, work)
    for command in block.commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=work,
            env={
                **outside_xdist(),
                **installed,
                "HOME": str(tmp_path),
                "LPCVC_CACHE": str(shelf.parent / "cache"),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        wanted = block.code if command == block.commands[-1] else 0
        assert done.returncode == wanted, f"$ {command}\n{done.stdout}{done.stderr}"
        out += done.stdout
    for line in block.printed:
        assert re.search(".*".join(map(re.escape, line.split("…"))), out), line


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_commands_parse(block: Block, pytestconfig: pytest.Config) -> None:
    """Every option is one that the program has, of the commands that are not run too."""
    assert block.commands
    for command in block.commands:
        for program, *arguments in _simple(command):
            if program == "lpcvc":
                _parse(lpcvc, program, arguments)
            elif program == "pytest":
                _, unknown = pytestconfig._parser.parse_known_and_unknown_args(arguments)
                assert unknown == [], command
            elif program != "python":
                assert program in OTHER_PROGRAMS, command


def test_the_verbs_are_documented() -> None:
    """Each verb of `lpcvc` is used by some command."""
    used = {
        " ".join(arguments[:1])
        for block in BLOCKS
        for line in block.commands
        for program, *arguments in _simple(line)
        if program == "lpcvc"
    }
    assert lpcvc.commands.keys() - used == {"selftest"}, (
        "selftest is for those who work on the suite"
    )


def test_messages_are_those_of_the_code() -> None:
    """Each heading of the page is in one string of the source, with anything for an ellipsis."""
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `(.+)`$", text, re.MULTILINE)
    assert len(headings) > 25
    assert len(headings) == text.count("\n### ")
    for heading in headings:
        pattern = re.compile(".*".join(re.escape(piece.strip()) for piece in heading.split("…")))
        assert any(map(pattern.search, _strings())), heading


def test_pictures_are_small_and_used() -> None:
    pictures = set((ROOT / "docs" / "pictures").glob("*.png"))
    assert sum(path.stat().st_size for path in pictures) < MOST_PICTURE_BYTES
    used = set()
    for page in PAGES:
        for alt, target in re.findall(
            r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")
        ):
            assert len(alt) > 20, f"{page.name}: {target} needs a text alternative"
            used.add((page.parent / target).resolve())
    assert used == pictures


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="MkDocs is missing: install the docs extra")
def test_the_site_builds_and_loads_nothing(tmp_path: Path) -> None:
    """Strictly: a link or an anchor that leads nowhere fails. No page asks another machine."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(BLOCKS) / 5
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+stylesheet[^>]+//"
    )
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page.name


def _parse(command: click.Command, name: str, arguments: list[str]) -> None:
    """Raises click.UsageError for what the command does not take; nothing is run."""
    alone = not arguments and getattr(command, "invoke_without_command", False)
    if alone or not isinstance(command, click.Group):
        command.make_context(name, arguments)
        return
    within, verb, rest = command.resolve_command(click.Context(command), arguments)
    assert verb is not None
    _parse(verb, str(within), rest)


def _simple(command: str) -> Iterator[list[str]]:
    """The simple commands of a line, without comments and assignments."""
    words: list[str] = []
    for word in [*shlex.split(command, comments=True), "&&"]:
        if word != "&&":
            words += [] if not words and re.match(r"[A-Z_]+=", word) else [word]
        elif words:
            yield words
            words = []


@cache
def _strings() -> frozenset[str]:
    """Every string of the source: joined where Python joins them, an ellipsis for what it fills."""
    files = [*(ROOT / "conformance").rglob("*.py"), *(ROOT / "reference").rglob("*.py")]
    own = [path for path in [*files, ROOT / "conftest.py"] if "test" not in path.parent.name]
    nodes = [node for path in own for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    filled = {_filled(node) for node in nodes if isinstance(node, ast.JoinedStr)}
    return frozenset({*map(_plain, nodes), *filled})


def _filled(node: ast.JoinedStr) -> str:
    return "".join(_plain(value) or "…" for value in node.values)


def _plain(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _not_pictures(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".md")]
