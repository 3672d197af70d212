"""Holds .onnx files to the rules that can be read off them; no model is run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.assessment import fails_gate
from conformance.graph import Graph, read_graph
from conformance.parts import part_of
from conformance.rulebook import PREFIXES, Rule, all_rules, rules_for
from reference.errors import SubmissionError
from reference.tracks import Part, Tensor, Track

# Stands for the part of a file whose track is not known; the rules of every track do not ask.
_ANY = Part("model", (), Tensor(None, (), (), ""))


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
    return [rule for rule in rules if rule.needs == "graph" and set(rule.tracks) == set(PREFIXES)]


def check_files(paths: Sequence[Path], track: Track | None, *, strict: bool) -> tuple[str, int]:
    """What the files break, a line each with its remedy; the code is 1 if that fails the gate.

    Of two parts a file is held to the one that takes what it takes: a picture, or a text.
    """
    rules = static_rules(track)
    lines: list[str] = []
    failing = 0
    for path in paths:
        found = list(_broken(path, track, rules, strict))
        failing += any(fails for _, fails in found)
        lines += [line for line, _ in found]
    whole = f"{len(paths)} file{'s' if len(paths) != 1 else ''}, {len(rules)} rules each"
    lines.append(f"{whole}: {f'{failing} FAIL' if failing else 'pass'}")
    return "\n".join(lines), int(failing > 0)


def _broken(
    path: Path, track: Track | None, rules: Sequence[Rule], strict: bool
) -> Iterator[tuple[str, bool]]:
    """(what is wrong and what helps, whether that fails the gate)"""
    try:
        if not path.is_file():
            raise SubmissionError("no such file", "check the path")
        graph = read_graph(path)
    except SubmissionError as error:
        yield f"{path}: {error.problem}\n  -> {error.remedy}", True
        return
    part = (part_of(track, graph) or track.parts[0]) if track else _ANY
    evidence = FileEvidence(part, graph, track)
    for rule in rules:
        verdict = rule.check(evidence)
        if verdict.outcome == "fail":
            fails = fails_gate(rule.level, as_evaluated=False, strict=strict)
            head = f"{path}: {rule.id} ({rule.level.value}){'' if fails else ' warns'}"
            wanted = f", expected {verdict.expected}" if verdict.expected else ""
            yield f"{head}: {verdict.seen}{wanted}\n  -> {verdict.remedy or rule.remedy}", fails
