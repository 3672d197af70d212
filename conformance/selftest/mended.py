"""Mends models in this process, round by round as `conformance.mending.mend` does in a child."""

from dataclasses import asdict
from pathlib import Path

import onnx
from onnx import ModelProto

from conformance.mending.child import Hands
from conformance.mending.menders import Change, changes
from conformance.submission.graph import Graph, read_graph
from conformance.verbs.check import FileEvidence, static_rules
from reference.tracks import Part, Track


def mend_here(path: Path, track: Track, part: Part) -> tuple[list[Change], ModelProto, Graph]:
    """What was changed, in order, and the model with its graph, whose file takes the place."""
    made: list[Change] = []
    model, graph = onnx.load(path, load_external_data=False), read_graph(path)
    for _ in range(4):
        wanted = changes(track, part, graph)
        if not wanted:
            return made, model, graph
        hands = Hands(model)
        for change in wanted:
            steps = [asdict(step) for step in change.arguments.get("steps", ())]
            extra = {"steps": steps} if steps else {}
            assert getattr(hands, change.do)(**{**change.arguments, **extra}), change
        made += wanted
        onnx.save(model, path)
        graph = read_graph(path)
    raise AssertionError(f"no end: {wanted}")


def static_offences(graph: Graph, track: Track, part: Part) -> set[str]:
    """The rules of the graph that it breaks."""
    evidence = FileEvidence(part, graph, track)
    return {rule.id for rule in static_rules(track) if rule.check(evidence).outcome == "fail"}
