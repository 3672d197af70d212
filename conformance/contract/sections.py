"""What a report shows of answers on this machine, and of others beside them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import is_finite
from conformance.contract.pictures import answer, broken, difference, nearest, notes
from conformance.report.document import Figure, Section, Table

_TEXTS_SHOWN, _BROKEN_SHOWN = 10, 3


def contract_sections(label: str, e: Any) -> Iterator[Section]:
    """Of a submission called `label`: its answers, and what is near to what; or its files."""
    if not isinstance(e, Evidence):
        yield package_files(label, e.files)
        return
    yield from broken_values(label, e)
    yield from answers_to_photographs(label, e)
    yield from retrieval(label, e)


def package_files(label: str, files: Mapping[str, int]) -> Section:
    """What a package holds, `files` in bytes by place."""
    rows = tuple((name, f"{size:,}") for name, size in files.items())
    table = Table("Files", ("file", "bytes"), rows, right=(1,))
    return Section("files", "What the package holds", label, tables=(table,))


def broken_values(label: str, e: Evidence) -> Iterator[Section]:
    """Where the values of answers are not what the contract says, of the first such answers."""
    figures = [figure for run in e.kept() if (figure := broken(e.track, run))]
    if figures:
        left = len(figures) - _BROKEN_SHOWN
        more = (f"{left} other answers break it too.",) if left > 0 else ()
        notes = ("Pixels that are few are drawn larger.", *more)
        title = "Where values break the contract, on this machine"
        yield Section("broken", title, label, notes, figures=tuple(figures[:_BROKEN_SHOWN]))


def answers_to_photographs(label: str, e: Evidence) -> Iterator[Section]:
    """What the model answers on this machine."""
    figures = [figure for run in e.kept("photo") if (figure := answer(e.track, run))]
    if figures:
        title = "Answers to photographs, on this machine"
        yield Section("answers", title, label, notes(e.track), figures=tuple(figures))


def retrieval(label: str, e: Evidence) -> Iterator[Section]:
    """The texts of the suite nearest to each photograph."""
    photos, texts = ([run for run in e.kept(role) if is_finite(run)] for role in ("photo", "text"))
    if not photos or not texts or len({run.output.size for run in photos + texts}) > 1:
        return
    found = (nearest(e.track, run, texts, _TEXTS_SHOWN) for run in photos)
    figures = tuple(figure for figure in found if figure)
    if figures:
        note = (
            f"Cosine similarity among the {len(texts)} texts of the suite, on this machine;"
            f" at most {_TEXTS_SHOWN} are shown. No score: the gallery is too small."
        )
        title = "Texts nearest to each photograph"
        yield Section("retrieval", title, label, (note,), figures=figures)


def differences(label: str, what: str, host: Evidence, mine: Sequence[Run]) -> Iterator[Section]:
    """Where `what`, which answered `mine`, answers otherwise than this machine did."""
    figures: list[Figure] = []
    rows = []
    hosts = {(run.part.name, run.probe.name): run for run in host.kept("photo", "text")}
    for run in mine:
        own = hosts.get((run.part.name, run.probe.name))
        if own is None or own.output.shape != run.output.shape:
            continue
        x, y = (np.asarray(r.output, np.float64) for r in (own, run))
        rows.append((own.where, f"{np.abs(x - y).max():.3g}", f"{_cosine(x, y):.7f}"))
        figure = difference(host.track, own, run, what) if run.probe.role == "photo" else None
        figures += [figure] if figure else []
    if rows:
        columns = ("answer", "largest difference", "cosine")
        table = Table("Difference of the answers", columns, tuple(rows), right=(1, 2))
        title = f"This machine against {what}"
        notes = ("In the pictures from the left: this machine, the NPU, and the difference.",)
        shown = notes if figures else ()
        yield Section("differences", title, label, shown, (table,), tuple(figures))


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x.ravel() @ y.ravel()) / norm) if norm else 1.0
