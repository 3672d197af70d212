"""What was measured before: published figures, and the results that earlier runs saved."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from reference.data import fixture
from reference.errors import SubmissionError

_SCHEMA = 1
_RUNTIME = "--target_runtime"


@dataclass(frozen=True)
class Published:
    """One figure of `fixtures/published.tsv`; memory in MB, None where it is not published.

    `toolchain` is the version that it holds for, as far as the source says.
    """

    device: str
    runtime: str
    milliseconds: float
    memory: tuple[float, float] | None
    toolchain: str
    source: str


@dataclass(frozen=True)
class SavedPart:
    """One part: its compile job, the SHA-256 of its ONNX file, and its median milliseconds."""

    job: str
    sha256: str
    milliseconds: float | None


@dataclass(frozen=True)
class Saved:
    """One submission on one device, as a run saved it.

    `milliseconds` and `spread` are None where no device measured them, `emulated` says that none
    was there. `memory` is in bytes.
    """

    date: str
    track: str
    submission: str
    device: str
    runtime: str
    emulated: bool
    milliseconds: float | None
    spread: tuple[float, float] | None
    memory: tuple[int, int] | None
    units: dict[str, int]
    parts: dict[str, SavedPart]


def runtime_of(compile_options: str) -> str:
    """The target runtime that the options name, `default` where they name none."""
    words = compile_options.split()
    return words[words.index(_RUNTIME) + 1] if _RUNTIME in words else "default"


def find_published(track: str, precision: str, device: str, runtime: str) -> Published | None:
    """The published figure of a track's model by the track's id, None where there is none.

    `fixtures/published.tsv`: 59 rows of the PidNet model card, one of the depth sample and one of
    the retrieval sample, whose parts count together.
    """
    with fixture("published.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = row["track"], row["precision"], row["device"], row["runtime"]
            if key == (track, precision, device, runtime):
                return Published(
                    device,
                    runtime,
                    float(row["milliseconds"]),
                    _memory(row["memory_low_mb"], row["memory_high_mb"]),
                    row["toolchain"],
                    row["source"],
                )
    return None


def _memory(low: str, high: str) -> tuple[float, float] | None:
    return (float(low), float(high)) if high else None


def read_saved(path: Path, *, must_exist: bool = False) -> list[Saved]:
    """The results in a file, none where it is not there yet.

    Raises SubmissionError for a file that is not one of ours.
    """
    if not path.exists() and not must_exist:
        return []
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}, not {_SCHEMA}")
        return [Saved(**_fields(run)) for run in document["runs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"{path.name} does not hold results of device runs: {error}",
            "give --save the file of an earlier run, or a new one",
        ) from None


def save(path: Path, runs: Sequence[Saved]) -> None:
    """Adds `runs` to a file; what it held stays."""
    document = {
        "schema": _SCHEMA,
        "runs": [dataclasses.asdict(run) for run in [*read_saved(path), *runs]],
    }
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def last_measured(runs: Sequence[Saved], track: str, device: str, runtime: str) -> Saved | None:
    """The latest that a device measured for the same track, device and runtime."""
    same = [
        run
        for run in runs
        if (run.track, run.device, run.runtime) == (track, device, runtime)
        and run.milliseconds is not None
    ]
    return same[-1] if same else None


def last_like(runs: Sequence[Saved], run: Saved) -> Saved | None:
    """The latest of the same track, device and runtime, emulated if `run` is."""
    key = attrgetter("track", "device", "runtime", "emulated")
    return next((other for other in reversed(runs) if key(other) == key(run)), None)


def compared(now: Saved, before: Saved | None) -> str:
    """What has changed since an earlier run, on one line."""
    what = f"{now.track} on {now.device}"
    if before is None:
        return f"{what}: kept; there is no earlier run of it to compare with"
    if now.milliseconds and before.milliseconds:
        change = now.milliseconds / before.milliseconds - 1
        time = f"{now.milliseconds:.4g} ms, before {before.milliseconds:.4g} ({change:+.1%})"
    else:
        time = "no time was measured"
    layers = f"layers {_layers(now)}"
    if now.units != before.units:
        layers += f" ({_layers(before)} before)"
    old, new = ({p: part.sha256 for p, part in run.parts.items()} for run in (before, now))
    other = [part for part, digest in new.items() if old.get(part) != digest]
    file = f"another file ({', '.join(other)})" if other else "the same file"
    return f"{what} since {before.date} ({before.submission}): {time}; {layers}; {file}"


def _layers(run: Saved) -> str:
    listed = (f"{count} on the {unit}" for unit, count in sorted(run.units.items()))
    return ", ".join(listed) or "not listed"


def _fields(run: dict[str, Any]) -> dict[str, Any]:
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in run.items()}
    parts = {name: SavedPart(**part) for name, part in run["parts"].items()}
    return {**fields, "parts": parts}
