"""Mend what can be mended of an ONNX model, and say what cannot."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from conformance.contract.assessment import Assessment
from conformance.mending.mend import Mended, mend
from conformance.mending.menders import Change
from conformance.report.progress import stderr_progress
from conformance.rulebook import Gate, Rule, Verdict
from conformance.subject import Progress, opened, ticking
from conformance.submission.files import models_in
from conformance.submission.graph import Graph, read_graph
from conformance.submission.model import Model, Submission
from conformance.submission.opening import split_spec, told_part
from conformance.submission.parts import part_of
from conformance.verbs import PATH, Found, in_json, limited, model_track
from conformance.verbs._parity import compare_mended
from reference.errors import SubmissionError, one_line
from reference.process import Limits
from reference.tracks import Track

_GATE = Gate()


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[PART=]MODEL...")
@click.option("--track", required=True, metavar="TRACK")
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    metavar="OUT",
    help="A name that ends in .onnx for one model, else a folder.",
)
@limited("opening, mending or running a model")
@in_json
def command(models: Sequence[str], track: str, output: Path, limits: Limits) -> Found:
    """Mend each ONNX MODEL for its track, and write it to OUT: names, the batch axis and other
    axes of one entry, channels that are last, open sizes, types, further outputs, what nothing
    reads, and ONNX versions. Exit code 1: what is left fails the gate.

    Each change is listed with the rule that asks for it, then how far the answers are from those of
    before, and the rules that are still broken. MODEL itself stays as it is.
    """
    contract = model_track(track)
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as name, stderr_progress() as progress:
        scratch = Path(name)
        work = _Work(contract, scratch, limits, progress)
        given = work.given(models)
        return work.mended(given, _places(output, given))


@dataclass(frozen=True)
class _Given:
    """A model as it came, and what is wrong with where it was put, if anything."""

    graph: Graph
    notes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class _Work:
    """What is the same for all models of one command."""

    track: Track
    scratch: Path
    limits: Limits
    progress: Progress

    def given(self, specs: Sequence[str]) -> dict[str, _Given]:
        """The models by the part that each is; two that were exchanged are put right.

        Raises SubmissionError for what is no ONNX model, no part's, or given twice.
        """
        found: list[tuple[str, str, Graph]] = []
        for spec in specs:
            part, target = split_spec(self.track, spec)
            for model in models_in(target, self.scratch, self.limits):
                if model.format != "onnx":
                    export = (
                        f"export it first: lpcvc export {target} out.onnx --track {self.track.id}"
                    )
                    raise SubmissionError(
                        f"{model.path.name} is no ONNX file",
                        export if model.torch else "give the ONNX that it was made of",
                    )
                tick = ticking(self.progress, f"reading {model.path.name}")
                graph = read_graph(model.path, self.limits, tick)
                own = part_of(self.track, graph)
                looks = own.name if own is not None else part or told_part(self.track, graph).name
                found.append((part or looks, looks, graph))
        if len({looks for _, looks, _ in found}) < len(found):
            found = [(part, part, graph) for part, _, graph in found]
        named = [part for _, part, _ in found]
        for part in named:
            if named.count(part) > 1:
                raise SubmissionError(
                    f"{named.count(part)} models are given for the part {part!r}",
                    f"give one for each part of {self.track.id}",
                )
        return {looks: _Given(graph, self._moved(part, looks)) for part, looks, graph in found}

    def _moved(self, part: str, looks: str) -> tuple[Change, ...]:
        if part == looks:
            return ()
        kind = "picture" if self.track.part(looks).image else "text"
        what = f"given as {part}, it takes a {kind} and is the {looks} part"
        return (Change(f"{self.track.prefix}-2", what, ""),)

    def mended(self, given: dict[str, _Given], places: dict[str, Path]) -> Found:
        """Mends, compares and writes them; what there is to say, the exit code, and all of it as
        values.
        """
        drafts = {part: self.scratch / "mended" / part / places[part].name for part in given}
        before = self._assess({part: own.graph.path for part, own in given.items()}, "before")
        before.open()
        done: dict[str, Mended] = {}
        for part, own in given.items():
            drafts[part].parent.mkdir(parents=True)
            tick = ticking(self.progress, f"mending {own.graph.path.name}")
            contract = self.track.part(part)
            done[part] = mend(own.graph, self.track, contract, drafts[part], self.limits, tick)
        changed = any(own.changes for own in done.values())
        after = self._assess(drafts, "after") if changed else before
        lines, parts = [], []
        for part, mended in done.items():
            notes = (*given[part].notes, *mended.changes)
            lines += [_heading(self.track, part, mended, places[part], bool(notes))]
            lines += [f"  {change.rule:<7} {one_line(change.what, 300)}" for change in notes]
            said = None
            if mended.changes:
                said = compare_mended(after, part, mended, self.scratch, self.limits)
                lines.append(f"  parity  {said}")
            changes = [{"rule": change.rule, "what": change.what} for change in notes]
            parts.append(
                {
                    "part": part,
                    "model": mended.before.path.name,
                    "file": places[part],
                    "changes": changes,
                    "parity": said,
                }
            )
        lines += _rules(before, after) if changed else []
        left = list(_broken(after))
        lines += [line for rule, verdict in left for line in _left(rule, verdict)]
        for part, draft in drafts.items():
            _put(draft, places[part])
        document = {
            "track": self.track.id,
            "models": parts,
            "before": {rule.id: before.verdict(rule).outcome for rule in before.rules},
            "after": {rule.id: after.verdict(rule).outcome for rule in after.rules},
            "left": [_values(rule, verdict) for rule, verdict in left],
        }
        return "\n".join(lines), int(any(_GATE.fails(rule.level) for rule, _ in left)), document

    def _assess(self, files: dict[str, Path], name: str) -> Assessment:
        own = replace(self.track, parts=tuple(p for p in self.track.parts if p.name in files))
        folder = self.scratch / name
        folder.mkdir()
        models = {part.name: Model(part.name, "onnx", str(files[part.name])) for part in own.parts}
        submission = Submission(", ".join(path.name for path in files.values()), models)
        made = Assessment(opened(own, submission), folder, limits=self.limits)
        made.progress = self.progress
        return made


def _places(output: Path, given: dict[str, _Given]) -> dict[str, Path]:
    """Where each part is written to, none of them where a model of the user's is."""
    single = output.suffix.lower() == ".onnx" and not output.is_dir()
    if single and len(given) > 1:
        raise SubmissionError(
            f"{output} is one file and {len(given)} models are given", "give -o a folder"
        )
    places = {part: output if single else output / f"{part}.onnx" for part in given}
    for place in places.values():
        for own in given.values():
            files = [own.graph.path]
            files += [own.graph.path.parent / each.location for each in own.graph.external]
            for file in files:
                if place.exists() and file.exists() and place.samefile(file):
                    raise SubmissionError(f"{place} is what is to be mended", "choose another OUT")
    return places


def _put(draft: Path, place: Path) -> None:
    """Moves a finished file, and the weights beside it, to their place; the weights come first."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for file in sorted(draft.parent.iterdir(), key=lambda file: file == draft):
            with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as beside:
                shutil.copyfile(file, beside.name)
            os.chmod(beside.name, 0o644)
            os.replace(beside.name, place.with_name(file.name))
    except OSError as error:
        raise SubmissionError(
            f"{place} cannot be written: {error.strerror or error}", "choose another OUT"
        ) from None


def _heading(track: Track, part: str, own: Mended, place: Path, changed: bool) -> str:
    title = track.id if len(track.parts) == 1 else f"{track.id} {part}"
    what = "mended" if own.changes else "nothing to mend" if not changed else "as it was"
    return f"{title}, {one_line(own.before.path.name)} -> {one_line(str(place))}: {what}"


def _rules(before: Assessment, after: Assessment) -> list[str]:
    """How many rules had which outcome, and which of them were and are broken."""
    lines = []
    for name, own in (("before", before), ("after", after)):
        verdicts = {rule.id: own.verdict(rule) for rule in own.rules}
        broken = [id for id, verdict in verdicts.items() if verdict.outcome == "fail"]
        counts = [
            f"{sum(verdict.outcome == outcome for verdict in verdicts.values())} {word}"
            for outcome, word in (("pass", "kept"), ("skip", "not checked"))
        ]
        told = f"{len(broken)} broken ({', '.join(broken)})" if broken else "0 broken"
        lines.append(f"  {name:<7} {told}, {', '.join(counts)}")
    return lines


def _broken(own: Assessment) -> list[tuple[Rule, Verdict]]:
    verdicts = [(rule, own.verdict(rule)) for rule in own.rules]
    return [(rule, verdict) for rule, verdict in verdicts if verdict.outcome == "fail"]


def _values(rule: Rule, verdict: Verdict) -> dict[str, object]:
    """A rule that is broken still, as values."""
    return {
        "rule": rule.id,
        "level": rule.level,
        "fails": _GATE.fails(rule.level),
        "seen": verdict.seen,
        "expected": verdict.expected,
        "where": verdict.where,
        "remedy": verdict.remedy or rule.remedy,
    }


def _left(rule: Rule, verdict: Verdict) -> list[str]:
    """A rule that is broken still, and what helps."""
    fails = "FAIL" if _GATE.fails(rule.level) else "warn"
    where = f" ({verdict.where})" if verdict.where else ""
    wanted = f", expected {verdict.expected}" if verdict.expected else ""
    head = f"  left    {rule.id} ({rule.level.value}) {fails}: {verdict.seen}{where}{wanted}"
    return [head, f"    -> {verdict.remedy or rule.remedy}"]
