"""What stands in `lpcvc.toml`, or under `[tool.lpcvc]` of pyproject.toml: options of every run."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.closest import did_you_mean
from reference.errors import SubmissionError, one_line

_OWN, _SHARED = "lpcvc.toml", "pyproject.toml"
# What each may be: one text, several of them, or a switch.
_KINDS: dict[str, type] = {
    "track": list,
    "submission": list,
    "device": list,
    "baseline": str,
    "strict": bool,
    "report": list,
}
_WORDS = {
    list: "a string, or a list of strings",
    str: "a string",
    bool: "true or false, without quotes",
}


@dataclass(frozen=True)
class Settings:
    """The options by their names; empty where `file`, the one they are from, says nothing.

    Paths are those from the current folder.
    """

    file: Path | None = None
    track: tuple[str, ...] = ()
    submission: tuple[str, ...] = ()
    device: tuple[str, ...] = ()
    baseline: str = ""
    strict: bool = False
    report: tuple[str, ...] = ()


def find_settings(folder: Path) -> Settings:
    """Those of the nearest file, from `folder` upwards; in one folder lpcvc.toml goes first.

    Raises SubmissionError for a file that cannot be read, an unknown name and a wrong type.
    """
    for place in (folder, *folder.parents):
        for name in (_OWN, _SHARED):
            file = place / name
            if file.is_file() and (given := _table(file)) is not None:
                return _read(file, given, folder)
    return Settings()


def _table(file: Path) -> Any:
    """What the file says of this suite; None for a pyproject.toml without a word of it."""
    text = file.read_bytes()
    if file.name == _SHARED and b"lpcvc" not in text:
        return None  # whether the rest of it can be read is not ours to tell
    import tomllib

    try:
        whole = tomllib.loads(text.decode())
    except ValueError as error:
        raise SubmissionError(
            f"{file} is no TOML: {one_line(str(error), 200)}", "mend that line"
        ) from None
    tool = whole.get("tool", {})
    table = tool.get("lpcvc") if isinstance(tool, Mapping) else None
    if file.name == _OWN and (table is None or len(whole) > 1):
        return whole
    return table


def _read(file: Path, given: Any, here: Path) -> Settings:
    if not isinstance(given, Mapping):
        raise SubmissionError(f"{file}: tool.lpcvc is no table", "write [tool.lpcvc]")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _KINDS:
            near = did_you_mean(name, _KINDS, 1)
            raise SubmissionError(
                f"{file}: no setting is called {name!r}", near or f"there are {', '.join(_KINDS)}"
            )
        kind = _KINDS[name]
        if kind is list and isinstance(value, str):
            value = [value]
        texts = value if isinstance(value, list) else []
        if not isinstance(value, kind) or not all(isinstance(text, str) for text in texts):
            raise SubmissionError(
                f"{file}: {name} is {one_line(repr(value), 80)}", f"write {_WORDS[kind]}"
            )
        found[name] = value

    def from_here(name: str, is_path: Callable[[str], bool] = bool) -> tuple[str, ...]:
        texts = found.get(name, ())
        return tuple(_moved(text, file.parent, here) if is_path(text) else text for text in texts)

    return Settings(
        file,
        track=from_here("track", lambda name: name.endswith(".toml")),
        submission=from_here("submission", lambda spec: not _is_factory(spec, file.parent)),
        device=tuple(found.get("device", ())),
        baseline=_moved(found.get("baseline", ""), file.parent, here),
        strict=found.get("strict", False),
        report=from_here("report"),
    )


def _is_factory(spec: str, folder: Path) -> bool:
    """Whether it is a `module:factory`, which is no path."""
    target = spec.rpartition("=")[2]
    return ":" in target and ".py:" not in target and not (folder / target).exists()


def _moved(spec: str, folder: Path, here: Path) -> str:
    """`[PART=]PATH`, written in a file of `folder`, as seen from `here`."""
    part, equals, path = spec.rpartition("=")
    if not path or folder == here or Path(path).is_absolute():
        return spec
    return f"{part}{equals}{os.path.relpath(folder / path, here)}"
