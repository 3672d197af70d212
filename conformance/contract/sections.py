"""What a report shows of answers on this machine, and of others beside them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import is_finite, same
from conformance.contract.pictures import answer, broken, difference, nearest, notes
from conformance.report.document import Chart, Figure, Section, Table
from conformance.submission.facts import facts_of, rows_of
from reference.errors import one_line
from reference.tracks import Track

HOST = "this machine"
_TEXTS_SHOWN, _BROKEN_SHOWN, _OPERATORS_SHOWN = 10, 3, 8


def contract_sections(label: str, e: Any) -> Iterator[Section]:
    """Of a submission called `label`: its answers, and what is near to what; or its files."""
    if not isinstance(e, Evidence):
        yield package_files(label, e.files)
        return
    yield from broken_values(label, HOST, e.track, e.kept())
    yield from answers_to_photographs(label, e)
    yield from repeats(label, e)
    yield from exports(label, e)
    yield from retrieval(label, e)
    yield from model_facts(label, e)


def package_files(label: str, files: Mapping[str, int]) -> Section:
    """What a package holds, `files` in bytes by place."""
    rows = tuple((name, f"{size:,}") for name, size in files.items())
    table = Table("Files", ("file", "bytes"), rows, right=(1,))
    return Section("files", "What the package holds", label, tables=(table,))


def broken_values(
    label: str, where: str, track: Track, runs: Iterable[Run], *, compiled: bool = False
) -> Iterator[Section]:
    """Where the values of answers are not what the contract says, of the first such answers."""
    drawn = (broken(track, run, compiled=compiled) for run in runs)
    figures = [figure for figure in drawn if figure]
    if figures:
        left = len(figures) - _BROKEN_SHOWN
        more = (f"{left} other answers break it too.",) if left > 0 else ()
        notes = ("Pixels that are few are drawn larger.", *more)
        title = f"Where values break the contract, on {where}"
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


def repeats(label: str, e: Evidence) -> Iterator[Section]:
    """Where a second run on the same input answers otherwise."""
    known = _by_probe(e.kept())
    again = ((known.get((run.part.name, run.probe.of)), run) for run in e.kept("repeat"))
    pairs = [(one, other) for one, other in again if one and not same(one.output, other.output)]
    title = "Two runs on the same input"
    yield from _differences("repeats", title, label, "the first run", "the second", e.track, pairs)


def exports(label: str, e: Evidence) -> Iterator[Section]:
    """Where the ONNX export of a PyTorch submission answers otherwise than the original."""
    mine = [run for run in e.kept_exports() if run.probe.role in ("photo", "text")]
    yield from differences(label, "the original", "its ONNX export", e, mine)


def differences(
    label: str, one: str, what: str, host: Evidence, mine: Sequence[Run]
) -> Iterator[Section]:
    """Where `what`, which answered `mine`, answers otherwise than `one`, as which `host` did."""
    known = _by_probe(host.kept("photo", "text"))
    pairs = [(own, run) for run in mine if (own := known.get((run.part.name, run.probe.name)))]
    title = f"{one[0].upper()}{one[1:]} against {what}"
    yield from _differences("differences", title, label, one, what, host.track, pairs)


def _differences(
    kind: str,
    title: str,
    label: str,
    one: str,
    what: str,
    track: Track,
    pairs: Sequence[tuple[Run, Run]],
) -> Iterator[Section]:
    figures: list[Figure] = []
    rows = []
    for own, run in pairs:
        if own.output.shape != run.output.shape:
            continue
        x, y = (np.asarray(r.output, np.float64) for r in (own, run))
        rows.append((own.where, f"{np.abs(x - y).max():.3g}", f"{_cosine(x, y):.7f}"))
        photo = own.probe.role == "photo"
        figure = difference(track, own, run, one, what) if photo else None
        figures += [figure] if figure else []
    if rows:
        columns = ("answer", "largest difference", "cosine")
        table = Table("Difference of the answers", columns, tuple(rows), right=(1, 2))
        notes = (f"In the pictures from the left: {one}, {what}, and the difference.",)
        shown = notes if figures else ()
        yield Section(kind, title, label, shown, (table,), tuple(figures))


def model_facts(label: str, e: Evidence) -> Iterator[Section]:
    """What is in each file: tensors, operators, multiply-adds."""
    tables, charts = [], []
    for part, graph in e.kept_graphs.items():
        facts, rows = facts_of(graph), dict[str, list[str]]()
        for head, text in rows_of(facts):
            rows.setdefault(head, []).append(text)
        told = tuple((head, "; ".join(map(one_line, texts))) for head, texts in rows.items())
        tables.append(Table(one_line(f"{part}, {facts['file']}"), ("what", "in the file"), told))
        counts = list(facts["operators"].items())
        if len(counts) > 1:
            charts.append(_operators(part, counts))
    if tables:
        title = "What is in the model"
        yield Section("facts", title, label, tables=tuple(tables), charts=tuple(charts))


def _operators(part: str, counts: Sequence[tuple[str, int]]) -> Chart:
    shown, more = counts[:_OPERATORS_SHOWN], counts[_OPERATORS_SHOWN:]
    rows = [*shown, (f"{len(more)} other types", sum(n for _, n in more))] if more else shown
    labels, values = zip(*((one_line(op), float(count)) for op, count in rows), strict=True)
    alt = f"Operators of the {part} by type: {', '.join(f'{op} {n}' for op, n in rows)}."
    return Chart("bars", f"Operators of the {part} by type", one_line(alt), labels, values, "nodes")


def _by_probe(runs: Iterable[Run]) -> dict[tuple[str, str], Run]:
    return {(run.part.name, run.probe.name): run for run in runs}


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x.ravel() @ y.ravel()) / norm) if norm else 1.0
