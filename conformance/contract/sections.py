"""What a report shows of answers on this machine, and of others beside them."""

from collections.abc import Iterator, Sequence

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import is_finite
from conformance.contract.pictures import answer, difference, ranked
from conformance.report.document import Chart, Figure, Section, Table

_TEXTS_SHOWN = 10


def contract_sections(label: str, e: Evidence) -> Iterator[Section]:
    """Of a submission called `label`: its answers, and what is near to what."""
    yield from answers_to_photographs(label, e)
    yield from retrieval(label, e)


def answers_to_photographs(label: str, e: Evidence) -> Iterator[Section]:
    """What the model answers on this machine."""
    notes = {
        "pidnet": ("Colours of Cityscapes. The suite's photographs are no street scenes.",),
        "depth": ("The colour bar runs over the values of each picture: depth is relative.",),
    }
    figures = [figure for run in e.kept("photo") if (figure := answer(e.track, run))]
    if figures:
        own = notes.get(e.track.name, ())
        title = "Answers to photographs, on this machine"
        yield Section("answers", title, label, own, figures=tuple(figures))


def retrieval(label: str, e: Evidence) -> Iterator[Section]:
    """The texts of the suite nearest to each photograph."""
    photos = [run for run in e.kept("photo", part="image") if is_finite(run)]
    texts = [run for run in e.kept("text", part="text") if is_finite(run)]
    if not photos or not texts or len({run.output.size for run in photos + texts}) > 1:
        return
    table = _unit(photos) @ _unit(texts).T
    names = [run.probe.name for run in texts]
    yield Section(
        "retrieval",
        "Texts nearest to each photograph",
        label,
        (
            f"Cosine similarity among the {len(texts)} texts of the suite, on this machine;"
            f" at most {_TEXTS_SHOWN} are shown. No score: the gallery is too small.",
        ),
        figures=tuple(
            ranked(e.track, run, _ranking(run.probe.name, names, row))
            for run, row in zip(photos, table, strict=True)
        ),
    )


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


def _ranking(photo: str, names: Sequence[str], similarities: np.ndarray) -> Chart:
    order = np.argsort(-similarities, kind="stable")[:_TEXTS_SHOWN]
    labels = tuple(names[i] for i in order)
    values = tuple(round(float(similarities[i]), 4) for i in order)
    alt = "; ".join(
        f"{k}: {label}, {v:.3f}" for k, (label, v) in enumerate(zip(labels, values, strict=True), 1)
    )
    return Chart(
        "bars",
        f"Texts nearest to {photo}",
        f"Texts nearest to {photo}. {alt}.",
        labels,
        values,
        "cosine",
    )


def _unit(runs: Sequence[Run]) -> np.ndarray:
    rows = np.array([np.asarray(run.output, np.float64).reshape(-1) for run in runs])
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x.ravel() @ y.ravel()) / norm) if norm else 1.0
