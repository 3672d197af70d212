"""Hold models to the rules that need no run."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from conformance.mending.menders import with_advice
from conformance.report.progress import stderr_progress
from conformance.rulebook import Gate, Rule, all_rules, every_track, rules_for
from conformance.subject import onnx_file
from conformance.submission.files import models_in
from conformance.submission.graph import Graph, read_graph
from conformance.submission.model import Model
from conformance.submission.opening import as_parts, split_spec, told_part
from conformance.verbs import Answer, Found, in_json, limited, model_track
from conformance.verbs._models import need_onnx
from reference.errors import SubmissionError, ToolError, one_line
from reference.process import Limits
from reference.tracks import Part, Tensor, Track

# Stands for the part of a file whose track is not known; the rules of every track do not ask.
_ANY = Part("model", (), Tensor(None, (), (), ""))


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[PART=]MODEL...")
@click.option(
    "--track", metavar="TRACK", help="Its rules too; default: those of every track alone."
)
@click.option("--strict", is_flag=True, help="Advice fails too.")
@limited("opening or exporting a model")
@in_json
def command(models: Sequence[str], track: str | None, strict: bool, limits: Limits) -> Found:
    """Hold models to the rules that can be read off their graphs. Exit code 1: one of them fails
    the gate.

    Each MODEL is what the suite takes for --submission, on its own; PyTorch models are exported for
    --track.
    """
    contract = model_track(track) if track else None
    found = look_at(models, contract, strict=strict, limits=limits)
    return *_told(found), found


@dataclass(frozen=True)
class Broken:
    """A rule that a file breaks, or why the file cannot be read where there is no `rule`."""

    file: str
    rule: str
    level: str
    fails: bool
    seen: str
    expected: str
    remedy: str


@dataclass(frozen=True)
class Checked:
    """How many files were held to how many rules each, what they break, and how many fail."""

    files: int
    rules: int
    failing: int
    broken: tuple[Broken, ...]


@dataclass(frozen=True)
class FileEvidence:
    """What an Evidence is to the rules of the graph: one file, as one part of its track."""

    part: Part
    graph: Graph
    track: Track | None

    @property
    def graphs(self) -> dict[str, Graph]:
        """The graph by the name of its part."""
        return {self.part.name: self.graph}

    def each_graph(self) -> list[tuple[Part, Graph]]:
        """The part with its graph."""
        return [(self.part, self.graph)]


def static_rules(track: Track | None) -> list[Rule]:
    """The rules of `track` that need the graph alone, or without one those of every track."""
    if track is not None:
        return [rule for rule in rules_for(track) if rule.needs == "graph"]
    rules = (rule for id, rule in all_rules().items() if id.startswith("COM-"))
    return [rule for rule in rules if rule.needs == "graph" and rule.when is every_track]


def check_files(
    specs: Sequence[str],
    track: Track | None,
    *,
    strict: bool,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Answer:
    """What `look_at` finds, a line each with its remedy; the code is 1 if that fails the gate."""
    return _told(look_at(specs, track, strict=strict, limits=limits))


def look_at(
    specs: Sequence[str],
    track: Track | None,
    *,
    strict: bool,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Checked:
    """What the models break.

    `specs` are `PATH` or `PART=PATH` as for a submission, each on its own; of two parts a model is
    held to the one that takes what it takes. PyTorch models are exported, in a child process with
    `limits`.
    """
    rules = static_rules(track)
    broken: list[Broken] = []
    seen = failing = 0
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
        for spec in specs:
            for name, graph, part in _opened(spec, track, Path(scratch), limits):
                found = list(_broken(name, graph, part, track, rules, Gate(strict=strict)))
                seen += 1
                failing += any(each.fails for each in found)
                broken += found
    return Checked(seen, len(rules), failing, tuple(broken))


def _told(found: Checked) -> Answer:
    lines = []
    for each in found.broken:
        head = each.file
        if each.rule:
            head += f": {each.rule} ({each.level}){'' if each.fails else ' warns'}"
        wanted = f", expected {each.expected}" if each.expected else ""
        lines.append(f"{head}: {each.seen}{wanted}\n  -> {each.remedy}")
    whole = f"{found.files} file{'s' if found.files != 1 else ''}, {found.rules} rules each"
    lines.append(f"{whole}: {f'{found.failing} FAIL' if found.failing else 'pass'}")
    return "\n".join(lines), int(found.failing > 0)


def _opened(
    spec: str, track: Track | None, scratch: Path, limits: Limits
) -> Iterator[tuple[str, Graph | SubmissionError, Part]]:
    """(what it is called, its graph or why there is none, its part) of each model of `spec`."""
    try:
        part, target = split_spec(track, spec) if track else ("", spec)
        models = models_in(target, scratch, limits)
        if track and (len(models) > 1 or models[0].torch or part):
            models = as_parts(track, part, target, models, limits)
    except ToolError:
        raise
    except SubmissionError as error:
        yield one_line(spec), error, _ANY
        return
    for model in models:
        inside = (
            model.target if model.path.is_relative_to(target) else f"{target}/{model.path.name}"
        )
        name = one_line(target if len(models) == 1 else inside)
        try:
            graph = read_graph(_onnx(model, track, scratch, limits), limits)
            if track is None:
                yield name, graph, _ANY
            else:
                yield name, graph, track.part(model.part) if model.part else told_part(track, graph)
        except ToolError:
            raise
        except SubmissionError as error:
            yield name, error, _ANY


def _onnx(model: Model, track: Track | None, scratch: Path, limits: Limits) -> Path:
    if track is None:
        need_onnx(model)
        return model.path
    with stderr_progress() as progress:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        return onnx_file(model, track, folder, limits, progress)


def _broken(
    name: str,
    graph: Graph | SubmissionError,
    part: Part,
    track: Track | None,
    rules: Sequence[Rule],
    gate: Gate,
) -> Iterator[Broken]:
    if isinstance(graph, SubmissionError):
        yield Broken(name, "", "", True, graph.problem, "", graph.remedy)
        return
    evidence = FileEvidence(part, graph, track)
    for rule in rules:
        verdict = rule.check(evidence)
        if verdict.outcome == "fail":
            fails, level = gate.fails(rule.level), rule.level.value
            remedy = verdict.remedy or rule.remedy
            if track is not None:
                remedy = with_advice(remedy, rule.id, track, evidence.each_graph())
            yield Broken(name, rule.id, level, fails, verdict.seen, verdict.expected, remedy)
