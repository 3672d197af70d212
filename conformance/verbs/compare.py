"""Compare two models: rules, answers, placement, estimate."""

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Run
from conformance.report.columns import columns
from conformance.report.progress import stderr_progress
from conformance.runtimes.npu import compile_file, is_tflite, no_schedule
from conformance.subject import Progress, subject_of, ticking
from conformance.submission.facts import facts_of, many
from conformance.submission.graph import megabytes
from conformance.verbs import Found, in_json, limited, model_track
from reference.agreement import Nothing, Precision, tolerances
from reference.errors import SubmissionError, one_line
from reference.npu.devices import Device, find_device
from reference.npu.latency import estimate
from reference.process import Limits
from reference.tracks import Track

Cell = dict[str, Any]

_PRECISIONS: dict[Precision, str] = {
    "float32": "one model, but for rounding",
    "float16": "as close as float16 is to float32",
    "w8a8": "as close as 8 bits are to float32",
}
_NO_RULE: Cell = {"outcome": "none", "seen": "no rule of it"}
_OTHER = "two models, or two trainings of one"


@dataclass(frozen=True)
class Side:
    """One of the two: what its file says, by part, the outcome of each rule with what was seen, and
    what the compiler and the estimate say of each part, or why they say nothing.
    """

    label: str
    facts: dict[str, Cell]
    rules: dict[str, Cell]
    compiled: dict[str, Cell]
    estimates: dict[str, Cell]


@dataclass(frozen=True)
class Apart:
    """The worst agreement of the answers of one part, by figure, over `probes` inputs."""

    part: str
    probes: int
    figures: dict[str, float]
    told: str
    verdict: str


@click.command()
@click.argument("models", nargs=2, metavar="MODEL OTHER")
@click.option("--track", required=True, metavar="TRACK")
@click.option("--device", metavar="NAME", help="To compile for; default: the track's.")
@limited("opening, exporting, running or compiling a model")
@in_json
def command(models: Sequence[str], track: str, device: str | None, limits: Limits) -> Found:
    """Compare OTHER with MODEL. Exit code 1: it breaks a rule that MODEL keeps, or leaves the NPU
    where MODEL does not.

    Each is a submission as the suite takes it; of a track of two models a folder or zip with both.
    """
    contract = model_track(track)
    target = find_device(device or contract.device)
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        both = [
            _opened(contract, spec, Path(scratch, str(number)), limits, progress)
            for number, spec in enumerate(models)
        ]
        one, other = (_look(each, target, limits, progress) for each in both)
        apart = _distances(contract, *(each.evidence.runs() for each in both))
    worse = _worse(one, other)
    facts = {"model": one, "other": other, "answers": apart, "worse": worse}
    return _told(contract, target, one, other, apart, worse), int(bool(worse)), facts


def _opened(
    track: Track, spec: str, folder: Path, limits: Limits, progress: Progress
) -> Assessment:
    """A submission with the graph of every part; raises SubmissionError where there is none."""
    folder.mkdir()
    assessment = Assessment(subject_of(track, [spec], folder, limits), folder, limits=limits)
    assessment.progress = progress
    for part in track.parts:
        assessment.evidence.graph(part)
    return assessment


def _look(assessment: Assessment, device: Device, limits: Limits, progress: Progress) -> Side:
    rules = {}
    for rule in assessment.rules:
        progress(f"{assessment.submission}: {rule.id}")
        verdict = assessment.verdict(rule)
        rules[rule.id] = {"outcome": verdict.outcome, "seen": verdict.seen, "title": rule.summary}
    graphs = assessment.evidence.graphs
    ask = partial(_offline, device=device, track=assessment.track, limits=limits, progress=progress)
    return Side(
        one_line(assessment.submission),
        {part: facts_of(graph) for part, graph in graphs.items()},
        rules,
        {part: ask(_compiled, graph.path) for part, graph in graphs.items()},
        {part: ask(_estimated, graph.path) for part, graph in graphs.items()},
    )


def _offline(what: Callable[..., Cell], model: Path, **others: Any) -> Cell:
    """What the toolchain says of a model, or why it says nothing."""
    try:
        return what(model, **others)
    except SubmissionError as error:
        return {"none": str(error)}


def _compiled(
    model: Path, device: Device, track: Track, limits: Limits, progress: Progress
) -> Cell:
    tick = ticking(progress, f"compiling {model.name} for {device.name}")
    compiled = compile_file(model, device, limits=limits, tick=tick)
    placement = compiled.placement
    binary = compiled.binary.stat().st_size if compiled.binary.exists() else 0
    return {
        "whole": compiled.whole,
        "npu": placement.npu_ops,
        "cpu": len(placement.cpu),
        "binary": binary,
    }


def _estimated(
    model: Path, device: Device, track: Track, limits: Limits, progress: Progress
) -> Cell:
    if is_tflite(model):
        raise no_schedule(model)
    tick = ticking(progress, f"simulating {model.name}")
    found = estimate(model, device, track.runtime, limits=limits, tick=tick)
    if found.milliseconds is None:
        return {"none": "; ".join(found.reasons)}
    numbers = {"milliseconds": found.milliseconds, "low": found.low, "high": found.high}
    return {**numbers, "basis": found.basis}


def _distances(track: Track, one: Sequence[Run], other: Sequence[Run]) -> list[Apart]:
    """By part that both answer to the contract."""
    room = track.room("agreement")
    found = []
    for part in track.parts:
        theirs = {run.probe.name: run.output for run in other if run.part.name == part.name}
        pairs = [
            (run.output, theirs[run.probe.name])
            for run in one
            if run.part.name == part.name and run.probe.name in theirs
        ]
        measures = [room.measure(a, b, Nothing()) for a, b in pairs]
        figures = {}
        for name, figure in room.FIGURES.items():
            values = [value for each in measures if (value := getattr(each, name)) is not None]
            if values:
                nan = any(map(math.isnan, values))
                figures[name] = math.nan if nan else (max if figure.upper else min)(values)
        told = ", ".join(room.FIGURES[name].words.format(value) for name, value in figures.items())
        close = (
            words
            for precision, words in _PRECISIONS.items()
            if all(t.allows(figures.get(t.measure)) for t in tolerances(room, precision))
        )
        verdict = next(close, _OTHER) if pairs else "an answer of one of them breaks the contract"
        found.append(Apart(part.name, len(pairs), figures, told, verdict))
    return found


def _worse(one: Side, other: Side) -> list[str]:
    """What the second loses."""
    lost = [
        f"{rule}: {own['seen']}"
        for rule, own in other.rules.items()
        if own["outcome"] == "fail" and one.rules.get(rule, own)["outcome"] == "pass"
    ]
    for part, own in other.compiled.items():
        if one.compiled[part].get("whole") and not own.get("whole", False):
            why = own.get("none") or f"{own['cpu']} operators on the CPU"
            lost.append(f"{part} leaves the NPU: {why}")
    return lost


def _told(
    track: Track,
    device: Device,
    one: Side,
    other: Side,
    apart: Sequence[Apart],
    worse: Sequence[str],
) -> str:
    rows: list[tuple[str, ...]] = [("", one.label, other.label)]
    for part in one.facts:
        name = "" if part == "model" else f"{part} "
        a, b = (side.facts[part] for side in (one, other))
        rows += [
            (f"{name}file", *(megabytes(each["bytes"]) for each in (a, b))),
            (f"{name}parameters", *(f"{each['parameters']:,}" for each in (a, b))),
            (f"{name}multiply-adds", *(_macs(each) for each in (a, b))),
            (f"{name}operators", *(str(sum(each["operators"].values())) for each in (a, b))),
            (f"{name}on the NPU", *(_placed(side.compiled[part]) for side in (one, other))),
            (f"{name}estimate", *(_guessed(side.estimates[part]) for side in (one, other))),
        ]
    rows.append(("rules kept", *(_kept(side) for side in (one, other))))
    lines = [f"{track.id}, {device.name}", *columns(rows)]
    for each in apart:
        name = "" if each.part == "model" else f" of {each.part}"
        figures = f", at worst {each.told}" if each.told else ""
        lines.append(f"  answers{name} to {each.probes} inputs{figures}: {each.verdict}")
    lines += _changed_rules(one, other)
    cells = [
        c for side in (one, other) for c in (*side.compiled.values(), *side.estimates.values())
    ]
    bases = dict.fromkeys(cell["basis"] for cell in cells if "basis" in cell)
    lines += [f"  estimates: {basis}" for basis in bases]
    reasons = dict.fromkeys(cell["none"] for cell in cells if "none" in cell)
    lines += [f"  none: {one_line(reason)}" for reason in reasons]
    lines += [f"worse: {one_line(each)}" for each in worse]
    return "\n".join(lines)


def _changed_rules(one: Side, other: Side) -> list[str]:
    """The rules of which the two have another outcome."""
    lines = []
    for rule in {**one.rules, **other.rules}:
        a, b = one.rules.get(rule, _NO_RULE), other.rules.get(rule, _NO_RULE)
        if a["outcome"] != b["outcome"]:
            seen = "; ".join(own["seen"] for own in (a, b) if own["outcome"] != "pass")
            lines.append(f"  {rule}: {a['outcome']} -> {b['outcome']}: {one_line(seen)}")
    return lines


def _macs(facts: Cell) -> str:
    return "not known" if facts["macs"] is None else many(facts["macs"])


def _placed(cell: Cell) -> str:
    if "none" in cell:
        return "none"
    return f"{cell['npu']} operators, {cell['cpu']} on the CPU, {megabytes(cell['binary'])}"


def _guessed(cell: Cell) -> str:
    if "none" in cell:
        return "none"
    return f"{cell['milliseconds']:.3g} ms ({cell['low']:.3g}..{cell['high']:.3g})"


def _kept(side: Side) -> str:
    outcomes = [own["outcome"] for own in side.rules.values()]
    return f"{outcomes.count('pass')} of {len(outcomes) - outcomes.count('skip')}"
