"""The file of a baseline: what was recorded of each submission to each track."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.regression.entries import Entry, from_json, to_json
from reference.errors import SubmissionError

SCHEMA = 1
_NAME = "lpcvc-baseline"


@dataclass(frozen=True)
class Recorded:
    """One submission: versions of what computed, and the entries by key (`rules/DEP-7`)."""

    environment: Mapping[str, str]
    entries: Mapping[str, Entry]


# By track and by what the submission is called.
Baseline = Mapping[tuple[str, str], Recorded]


def read_baseline(path: Path) -> Baseline:
    """The baseline in a file.

    Raises SubmissionError for one that cannot be read, is not ours, or of another schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if not isinstance(document, dict) or document.get("name") != _NAME:
            raise ValueError("it has another content")
        schema = document["schema"]
        if schema == SCHEMA:
            return {
                (track, label): _recorded(own)
                for track, submissions in document["submissions"].items()
                for label, own in submissions.items()
            }
    except OSError as error:
        raise SubmissionError(
            f"{path.name} cannot be read ({error.strerror})",
            "write a baseline with --save-baseline first",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubmissionError(
            f"{path.name} does not hold a baseline: {error}",
            "take one that --save-baseline wrote, whole",
        ) from None
    raise SubmissionError(
        f"{path.name} holds a baseline of schema {schema}, this version reads {SCHEMA}",
        "write it again with --save-baseline and another file name",
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Writes a baseline to `path`, whole or not at all. Raises SubmissionError where it cannot."""
    submissions: dict[str, dict[str, Any]] = {}
    for (track, label), own in baseline.items():
        submissions.setdefault(track, {})[label] = {
            "entries": {key: to_json(entry) for key, entry in own.entries.items()},
            "environment": own.environment,
        }
    document = {"name": _NAME, "schema": SCHEMA, "submissions": submissions}
    draft = path.with_name(f"{path.name}.part")
    try:
        text = "\n".join(_lines(document, "")) + "\n"
        # A file name that is no UTF-8 holds surrogates, of which this makes JSON's own escapes.
        draft.write_bytes(text.encode("utf-8", "backslashreplace"))
        draft.replace(path)
    except OSError as error:
        raise SubmissionError(
            f"{path.name} cannot be written ({error.strerror})",
            "give --save-baseline a file in a folder that exists",
        ) from None


def _recorded(document: Mapping[str, Any]) -> Recorded:
    environment = {str(name): str(value) for name, value in document["environment"].items()}
    entries = {key: from_json(entry) for key, entry in document["entries"].items()}
    return Recorded(environment, entries)


def _lines(value: Any, indent: str) -> Iterator[str]:
    """JSON with sorted keys, a member a line, and lists on one."""
    if not isinstance(value, Mapping) or not value:
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)
        return
    yield "{"
    members = sorted(value)
    for name in members:
        first, *rest = _lines(value[name], f"{indent} ")
        lines = [f"{indent} {json.dumps(name, ensure_ascii=False)}: {first}", *rest]
        lines[-1] += "" if name == members[-1] else ","
        yield from lines
    yield f"{indent}}}"


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")
