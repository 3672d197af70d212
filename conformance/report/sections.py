"""The evidence of a report: what a suite has seen so far, as sections. Nothing is run for it.

To add one, write a function from a Suite to Sections and name it in BUILDERS.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import is_finite
from conformance.contract.pictures import answer, difference, ranked
from conformance.device.evidence import DeviceEvidence
from conformance.npu.evidence import NpuEvidence
from conformance.report.document import Chart, Figure, Section, Table
from conformance.submission.graph import megabytes
from reference.npu.compile import Compiled
from reference.npu.latency import Estimate

if TYPE_CHECKING:
    from conformance.suite import Suite

E = TypeVar("E")

NOT_MEASURED = "not measured"

_NODES_SHOWN = 20
_TEXTS_SHOWN = 10


def sections_of(suite: "Suite") -> list[Section]:
    """Everything that can be shown of what the suite has seen in this process."""
    with np.errstate(all="ignore"):  # an answer may hold anything
        return [section for build in BUILDERS for section in build(suite)]


def answers_to_photographs(suite: "Suite") -> Iterator[Section]:
    """What the model answers on this machine."""
    notes = {
        "pidnet": ("Colours of Cityscapes. The suite's photographs are no street scenes.",),
        "depth": ("The colour bar runs over the values of each picture: depth is relative.",),
    }
    for label, e in _collected(suite, Evidence):
        figures = [figure for run in e.kept("photo") if (figure := answer(e.track, run))]
        if figures:
            own = notes.get(e.track.name, ())
            title = "Answers to photographs, on this machine"
            yield Section("answers", title, label, own, figures=tuple(figures))


def retrieval(suite: "Suite") -> Iterator[Section]:
    """The texts of the suite nearest to each photograph."""
    for label, e in _collected(suite, Evidence):
        photos = [run for run in e.kept("photo", part="image") if is_finite(run)]
        texts = [run for run in e.kept("text", part="text") if is_finite(run)]
        if not photos or not texts or len({run.output.size for run in photos + texts}) > 1:
            continue
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


def npu_against_host(suite: "Suite") -> Iterator[Section]:
    """Where the NPU, emulated or a device's, answers otherwise than this machine."""
    for label, e in _collected(suite, NpuEvidence):
        yield from _differences(label, f"the emulated NPU of {e.device.name}", e)
    for label, d in _collected(suite, DeviceEvidence):
        if d.kept():
            kind = "the local AI Hub's emulation of " if d.device.emulated else ""
            yield from _differences(label, f"{kind}{d.device.name}", d)


def placement(suite: "Suite") -> Iterator[Section]:
    """Where each node runs, and what the compiler says of it."""
    for label, e in _collected(suite, NpuEvidence):
        compiled = {n: c for n, c in e.kept_compiled.items() if isinstance(c, Compiled)}
        if not compiled:
            continue
        left = [(name, node) for name, c in compiled.items() for node in c.placement.cpu]
        tables = [_placement_table(compiled)]
        if left:
            shown = left[:_NODES_SHOWN]
            more = f", the first {len(shown)} of {len(left)}" if len(left) > len(shown) else ""
            rows = tuple(
                (node.name or "unnamed", part, node.op, node.reason, node.remedy or "not known")
                for part, node in shown
            )
            columns = ("node", "part", "operator", "reason", "remedy")
            tables.append(Table(f"Nodes left to the CPU{more}", columns, rows))
        yield Section(
            "placement",
            f"Placement on {e.device.name}",
            label,
            (
                f"{next(iter(compiled.values())).toolchain}. Simulated is the compiler's own"
                f" estimate. Latency on a device: {NOT_MEASURED}.",
            ),
            tables=tuple(tables),
        )


def parity_by_layer(suite: "Suite") -> Iterator[Section]:
    """How the error grows through the graph, where a search has looked."""
    for own in suite.comparisons:
        charts, notes = [], []
        for (part, pair), found in own.agreements.items():
            sides = " against ".join(pair)
            if found.located:
                notes.append(f"{part}, {sides}: {found.located}")
            if found.errors:
                charts.append(_trace(f"{part}: {sides}, {found.precision}", found.errors))
        if charts:
            title = "Error by layer"
            yield Section("parity", title, own.label, tuple(notes), charts=tuple(charts))


def latency(suite: "Suite") -> Iterator[Section]:
    """What devices measured, against the budget."""
    for label, e in _collected(suite, DeviceEvidence):
        measured, baseline = e.kept_latency, e.kept_baseline
        if measured is None or e.device.emulated:
            continue
        budget = e.track.budget_ms or (baseline.median if baseline else None)
        limit = "none" if budget is None else f"{budget:.4g} ms"
        rows = ((e.device.name, str(measured), limit, e.track.budget),)
        columns = ("device", "measured", "budget", "in words")
        table = Table("Latency of one inference, all parts", columns, rows)
        yield Section("latency", "Latency against budget", label, tables=(table,))


def estimates(suite: "Suite") -> Iterator[Section]:
    """How fast a device might be, where the NPU's rules asked."""
    for label, e in _collected(suite, NpuEvidence):
        lines = [own.summary for own in e.kept_estimates.values() if isinstance(own, Estimate)]
        if lines:
            yield Section("estimate", f"Estimated latency on {e.device.name}", label, tuple(lines))


def history(suite: "Suite") -> Iterator[Section]:
    """What is otherwise than in the baseline."""
    by_subject: dict[str, list[tuple[str, ...]]] = {}
    versions: dict[str, list[str]] = {}
    for case, changes in suite.compared:
        rows = by_subject.setdefault(case.label, [])
        versions[case.label] = case.versions
        rows += [(c.key, c.status, c.text) for c in changes if c.status != "same"]
        rows.append(
            (case.group.name, "same", f"{sum(c.status == 'same' for c in changes)} entries")
        )
    for label, rows in by_subject.items():
        differ = "; ".join(versions[label])
        notes = (f"Versions that are not the baseline's: {differ}.",) if differ else ()
        table = Table("Entries of the baseline", ("entry", "now", "what changed"), tuple(rows))
        yield Section("history", "Against the baseline", label, notes, (table,))


BUILDERS: tuple[Callable[["Suite"], Iterable[Section]], ...] = (
    answers_to_photographs,
    retrieval,
    npu_against_host,
    placement,
    parity_by_layer,
    latency,
    estimates,
    history,
)


def _collected(suite: "Suite", kind: type[E]) -> Iterator[tuple[str, E]]:
    for own in suite.assessments:
        if isinstance(own.collected, kind):
            yield own.label, own.collected


def _differences(label: str, what: str, e: NpuEvidence | DeviceEvidence) -> Iterator[Section]:
    figures: list[Figure] = []
    rows = []
    mine = e.kept("photo", "text")
    if not mine:
        return
    hosts = {(run.part.name, run.probe.name): run for run in e.host.kept("photo", "text")}
    for run in mine:
        host = hosts.get((run.part.name, run.probe.name))
        if host is None or host.output.shape != run.output.shape:
            continue
        x, y = (np.asarray(r.output, np.float64) for r in (host, run))
        rows.append((host.where, f"{np.abs(x - y).max():.3g}", f"{_cosine(x, y):.7f}"))
        figure = difference(e.track, host, run, what) if run.probe.role == "photo" else None
        figures += [figure] if figure else []
    if rows:
        columns = ("answer", "largest difference", "cosine")
        table = Table("Difference of the answers", columns, tuple(rows), right=(1, 2))
        title = f"This machine against {what}"
        notes = ("In the pictures from the left: this machine, the NPU, and the difference.",)
        shown = notes if figures else ()
        yield Section("differences", title, label, shown, (table,), tuple(figures))


def _placement_table(compiled: dict[str, Compiled]) -> Table:
    columns = (
        "part",
        "compiles",
        "nodes on NPU",
        "NPU operators",
        "nodes on CPU",
        "binary",
        "DDR read",
        "DDR written",
        "of it spill and fill",
        "simulated",
    )
    rows = []
    for name, c in compiled.items():
        size = megabytes(c.binary.stat().st_size) if c.binary.exists() else "none"
        traffic = ["not available"] * 3
        if c.traffic:
            bytes_moved = (c.traffic.read, c.traffic.written, c.traffic.spill + c.traffic.fill)
            traffic = [megabytes(n) for n in bytes_moved]
        time = c.simulated
        rows.append(
            (
                name,
                "no" if c.failure else "whole" if c.whole else "partly",
                str(len(c.placement.npu)),
                str(c.placement.npu_ops),
                str(len(c.placement.cpu)),
                size,
                *traffic,
                f"{time.ms:.3g} ms ({time.lowest_ms:.3g}..{time.highest_ms:.3g})"
                if time
                else "not available",
            )
        )
    return Table("What the compiler made", columns, tuple(rows), right=tuple(range(2, 9)))


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


def _trace(caption: str, errors: Sequence[tuple[str, float]]) -> Chart:
    labels, values = zip(*errors, strict=True)
    levels = np.clip(values, 1e-12, 1e12)
    growth = levels[1:] / levels[:-1]
    worst = int(np.argmax(growth)) + 1 if len(growth) else 0
    alt = (
        f"Error of {len(values)} tensors from input to output, in standard deviations of each:"
        f" {values[0]:.2g} at first and {values[-1]:.2g} at last, largest {max(values):.2g};"
        f" the steepest step leads to {labels[worst]}."
    )
    return Chart("trace", caption, alt, labels, values, "standard deviations", marked=worst)


def _unit(runs: Sequence[Run]) -> np.ndarray:
    rows = np.array([np.asarray(run.output, np.float64).reshape(-1) for run in runs])
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _cosine(x: np.ndarray, y: np.ndarray) -> float:
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float((x.ravel() @ y.ravel()) / norm) if norm else 1.0
