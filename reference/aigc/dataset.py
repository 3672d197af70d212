"""AI-generated images: `Real/` and `Fake/` with PNG files, and `annotation.json` of the latter.

As the winner's scripts read the organisers' sample set; `inference_script.py` takes every .png.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reference.aigc.answer import CRITERIA
from reference.datasets.files import PICTURES, read_json, subfolder
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError

PICTURE_SIZE = None
REAL, FAKE, ANNOTATIONS = "Real", "Fake", "annotation.json"
_COPY = "Copy of "  # as the sample set's files are called


class Source(NamedTuple):
    """Where the truth of a picture is: its entry of annotation.json, None for a real one."""

    generated: bool
    entry: Any


@dataclass(frozen=True)
class Truth:
    """Whether a picture is generated and, of those, the scores 0 or 1 and the evidence by
    criterion.
    """

    generated: bool
    scores: Mapping[str, int]
    evidence: Mapping[str, str]


def index(folder: Path) -> Index:
    """An item for each picture; its id is its place without the ending, `Fake/watch`."""
    pictures = {name: _pictures(subfolder(folder, name)) for name in (REAL, FAKE)}
    notes = folder / ANNOTATIONS
    annotations = read_json(notes)
    if not isinstance(annotations, dict):
        raise SubmissionError(f"{notes} is no JSON object", "let it have an entry for each picture")
    items, findings = [], list(_findings(folder, pictures, annotations))
    for kind, paths in pictures.items():
        for path in paths:
            key, where = path.stem.replace(_COPY, ""), str(path)
            if kind == FAKE and key in annotations:
                source, where = Source(True, annotations[key]), str(notes)
            else:
                source = Source(kind == FAKE, None)
            name = path.relative_to(folder).with_suffix("").as_posix()
            items.append(Item(name, "", name, path, truth=source, where=where))
    files = frozenset([*pictures[REAL], *pictures[FAKE], notes])
    return Index(tuple(items), files, tuple(findings))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)


def _findings(
    folder: Path, pictures: Mapping[str, list[Path]], annotations: Mapping[str, Any]
) -> Iterator[Finding]:
    names: dict[str, Path] = {}
    for path in (*pictures[REAL], *pictures[FAKE]):
        if path.suffix != ".png":
            problem = "the official script skips it: it reads .png alone"
            yield Finding(str(path), problem, "save it as PNG", fatal=False)
        flat = path.relative_to(folder).as_posix().replace("/", "_").replace(path.suffix, "")
        if flat in names:
            problem = f"the official script calls it {flat}, like {names[flat].relative_to(folder)}"
            yield Finding(str(path), problem, "rename one of the two")
        names[flat] = path
    keys = {path.stem.replace(_COPY, "") for path in pictures[FAKE]}
    for path in pictures[FAKE]:
        if path.stem.replace(_COPY, "") not in annotations:
            problem = f"{ANNOTATIONS} has no entry for it: it scores detection alone"
            yield Finding(str(path), problem, "add its criteria", fatal=False)
    for key in sorted(annotations.keys() - keys):
        problem = f"there is no picture of the name {key!r} in {FAKE}/"
        yield Finding(str(folder / ANNOTATIONS), problem, "add the picture", fatal=False)


def truth(item: Item) -> Truth:
    """What an answer is held against; raises SubmissionError for an entry of another form.

    A score is 0, 1 or 2 there, and 1 where it is not 0 (evaluate_server_score.py).
    """
    source: Source = item.truth
    if source.entry is None:
        return Truth(source.generated, {}, {})
    scores, evidence = {}, {}
    entries = source.entry.get("per_criterion") if isinstance(source.entry, dict) else None
    for entry in entries if isinstance(entries, list) else [None]:
        match entry:
            case {"criterion": str(name), "score": 0 | 1 | 2 as score, **more} if name in CRITERIA:
                scores[name] = int(score != 0)
                evidence[name] = str(more.get("evidence", ""))
            case _:
                raise SubmissionError(
                    f"{item.where}: {item.id} has {json.dumps(entry)[:100]} in per_criterion",
                    "each has a criterion by its name, evidence, and a score 0, 1 or 2",
                )
    return Truth(source.generated, scores, evidence)
