"""Action recognition: a folder a class with videos, or with the `.npy` files made of them, and the
manifest.jsonl that was written with those; class_map.json and class_labels.json are compared.

The official scripts pair by order: `run_inference.py` feeds all `.npy` files sorted by their whole
paths, in which `cross-legged_hamstring_stretch/` comes before `cross/`, and `evaluate.py` takes the
rows of the manifest one by one. Here a row goes with the file that it names.
Source: 26LPCVC_Track2_Sample_Solution.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from reference.action.contract import CLASSES, FRAMES
from reference.action.inputs import ENDINGS
from reference.action.video import VIDEOS, timing
from reference.datasets.files import read_json
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError

READ = ".mp4"  # what `preprocess_and_save.py` takes for a video
MANIFEST, MAP, LABELS = "manifest.jsonl", "class_map.json", "class_labels.json"
# Times that a container rounds to milliseconds differ by that much in videos of a constant rate.
_UNEVEN, _ROUNDED = 1.5, 2.0
_NUMBER = {name: number for number, name in enumerate(CLASSES)}


class Truth(NamedTuple):
    """The number of the class, 0..91, and the one that class_labels.json gives it, where that is
    another order; else None.
    """

    number: int
    elsewhere: int | None


@dataclass(frozen=True)
class _Row:
    """A row of the manifest: its line, the class that it says, and the file, `class/name`."""

    line: int
    label: str
    key: str


def index(folder: Path) -> Index:
    """An item for each row of the manifest; without one, for each file in a folder of a class."""
    root = folder / "val" if (folder / "val").is_dir() else folder
    files = _files(root)
    findings = [*_class_faults(folder, root), *_file_faults(files)]
    listed = [path for path in (root / MANIFEST, folder / MANIFEST) if path.is_file()][:1]
    if listed:
        rows, faults = _read_manifest(listed[0])
        findings += [*faults, *_row_faults(listed[0], rows, files)]
    else:
        rows = [_Row(0, key.partition("/")[0], key) for key in files]
        unknown = dict.fromkeys(row.label for row in rows if row.label not in _NUMBER)
        findings += [_unknown(root / label, f"the folder {label!r}") for label in unknown]
    labels = _labels(folder, root)
    items: dict[str, Item] = {}
    for row in rows:
        path, number = files.get(row.key), _NUMBER.get(row.label)
        if path is not None and number is not None:
            known = Truth(number, labels.get(row.label))
            item = Item(row.key, "model", row.key, path, truth=known, where=str(path))
            items.setdefault(row.key, item)
    read = [item.image for item in items.values() if item.image]
    return Index(tuple(items.values()), frozenset([*listed, *read]), tuple(findings))


def truth(item: Item) -> Truth:
    """The number of its class."""
    known: Truth = item.truth
    return known


def doubts(path: Path) -> Iterator[Finding]:
    """What is odd about a video that can be read all the same."""
    if path.suffix.lower() not in VIDEOS:
        return
    frames, _, rotation, (shortest, longest) = timing(path)
    if frames < FRAMES:
        problem = f"the video has {frames} frames: the official code shows some of them twice"
        yield _warning(path, problem, f"bring one of {FRAMES} frames or more")
    if rotation:
        problem = f"the video is to be shown turned by {rotation} degrees, and nothing turns it"
        yield _warning(path, problem, "save it upright")
    if longest > _UNEVEN * shortest + _ROUNDED:
        problem = (
            f"the frames are {shortest:.0f}..{longest:.0f} ms apart, and the official code takes"
            " every n-th one: those that are fed are not evenly spaced in time"
        )
        yield _warning(path, problem, "save it with a constant frame rate")


def _files(root: Path) -> dict[str, Path]:
    """Clips by `class/name`, in the order of their whole paths; the `.npy` file where both are."""
    found: dict[str, Path] = {}
    for path in sorted(root.rglob("*"), key=lambda path: path.as_posix()):
        place = path.relative_to(root)
        if path.suffix.lower() in ENDINGS and len(place.parts) > 1:
            key = place.with_suffix("").as_posix()
            if key not in found or found[key].suffix.lower() in VIDEOS:
                found[key] = path
    return found


def _read_manifest(path: Path) -> tuple[list[_Row], list[Finding]]:
    """The rows that name a class and a file, and what is wrong with the others."""
    rows: list[_Row] = []
    findings: list[Finding] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path} cannot be read ({error})", "save it as UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            problem = f"row {number} is blank: the official evaluator ends there"
            findings.append(Finding(str(path), problem, "remove it"))
        elif row := _row(number, line):
            rows.append(row)
        else:
            problem = f"row {number} is no record with label and tensor_path or video_path"
            findings.append(Finding(str(path), problem, "write it with preprocess_and_save.py"))
    return rows, findings


def _row(number: int, line: str) -> _Row | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, Mapping) or not isinstance(record.get("label"), str):
        return None
    names = [record.get(key) for key in ("tensor_path", "video_path")]
    name = next((name for name in names if isinstance(name, str) and name), "")
    parts = PurePosixPath(name.replace("\\", "/")).with_suffix("").parts if name else ()
    return _Row(number, record["label"], "/".join(parts[-2:])) if len(parts) > 1 else None


def _row_faults(path: Path, rows: Sequence[_Row], files: Mapping[str, Path]) -> Iterator[Finding]:
    seen: set[str] = set()
    for row in rows:
        if row.label not in _NUMBER:
            yield _unknown(path, f"row {row.line} has the label {row.label!r}, which")
        elif row.label != row.key.partition("/")[0]:
            problem = f"row {row.line} is {row.label!r} and its file is {row.key}"
            yield _warning(path, problem, "let the folder be the label")
        if row.key not in files:
            problem = f"row {row.line} names {row.key}, which is not there"
            yield Finding(str(path), problem, "add its .npy or video, or remove the row")
        if row.key in seen:
            problem = f"row {row.line} names {row.key} again: scored once here"
            yield _warning(path, problem, "keep one row of it")
        seen.add(row.key)
    for key, told in zip_longest(files, (row.key for row in rows)):
        if key != told:
            where = f"{key or 'nothing'} is fed for the row of {told or 'nothing'}"
            problem = f"the official scripts pair by order, sorted by whole paths: {where}"
            yield _warning(path, problem, "write manifest and files in one go, and keep both")
            return


def _class_faults(folder: Path, root: Path) -> Iterator[Finding]:
    """Names or numbers that differ from the contract's."""
    for place in dict.fromkeys((root, folder)):
        own = _numbered(place / MAP)
        if own is not None and (moved := _moved(own)):
            remedy = "take the sample solution's file: the official evaluation does"
            yield Finding(str(place / MAP), f"{moved} in the official map", remedy, scored=True)
        labels = _numbered(place / LABELS)
        if labels is not None and (moved := _moved(labels)):
            problem = f"{moved} in {MAP}, which the evaluator goes by"
            remedy = f"number classes by {MAP} in training: in another order every answer is wrong"
            yield _warning(place / LABELS, problem, remedy)


def _labels(folder: Path, root: Path) -> dict[str, int]:
    """The numbers of class_labels.json, where they are not the contract's."""
    found = _numbered(root / LABELS) or _numbered(folder / LABELS) or {}
    return found if found and _moved(found) else {}


def _numbered(path: Path) -> dict[str, int] | None:
    """The number of each class in a file that lists or numbers them; None where there is none."""
    if not path.is_file():
        return None
    content: Any = read_json(path)
    named: list[tuple[Any, Any]] = []
    if isinstance(content, list):
        named = [(name, number) for number, name in enumerate(content)]
    elif isinstance(content, Mapping):  # from names to numbers, or from numbers to names
        named = [(b, a) if str(a).isdigit() else (a, b) for a, b in content.items()]
    if not named or not all(str(number).isdigit() for _, number in named):
        raise SubmissionError(f"{path} lists no classes", "take the sample solution's file")
    return {str(name).replace(" ", "_"): int(number) for name, number in named}


def _moved(numbers: Mapping[str, int]) -> str:
    """The first class that has another number here than in the contract; empty where none has."""
    for name, number in _NUMBER.items():
        if numbers.get(name) != number:
            return f"{name} is {numbers.get(name, 'missing')} here and {number}"
    return ""


def _file_faults(files: Mapping[str, Path]) -> Iterator[Finding]:
    for path in files.values():
        if path.suffix.lower() in VIDEOS and path.suffix.lower() != READ:
            yield _warning(path, f"the official script skips it: it reads {READ}", "save it so")


def _unknown(path: Path, what: str) -> Finding:
    problem = f"{what} is none of the {len(CLASSES)} classes: the official evaluator ends there"
    return Finding(str(path), problem, f"take a name of {MAP}, spaces as _")


def _warning(path: Path, problem: str, remedy: str) -> Finding:
    return Finding(str(path), problem, remedy, fatal=False)
