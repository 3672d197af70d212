"""Made-up graphs and answers, for rules that are judged without a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.probes import probes_for
from conformance.rulebook import Verdict, all_rules
from conformance.submission.forms import read_standard
from conformance.submission.graph import Graph, Node, Value
from conformance.submission.model import Model, Submission
from reference.depth.contract import DEPTH_2025
from reference.process import Limits
from reference.tracks import Track

IMAGE = Value("image", "float32", (1, 3, 480, 640))
DEPTH = Value("depth", "float32", (1, 1, 480, 640))
GRAPH = Graph(
    path=Path("my.onnx"),
    file_bytes=1000,
    ir_version=8,
    opsets={"": 17},
    inputs=(IMAGE,),
    outputs=(DEPTH,),
    nodes=(Node("net", "Conv", "", ("image", "w", "b"), ("depth",)),),
    weights={"w": Value("w", "float32", (1, 3, 3, 3)), "b": Value("b", "float32", (1,))},
    constants={},
    values={},
    external=(),
)
SECONDS = 2.5


def nodes(text: str) -> tuple[Node, ...]:
    """`Gather image,bgr -> x axis=1; Conv x,w -> y`: each operator is called by what it gives."""
    made = []
    for line in text.split(";"):
        op, inputs, _, outputs, *attributes = line.split()
        given = {key: int(value) for key, value in (entry.split("=") for entry in attributes)}
        made.append(
            Node(outputs, op, "", tuple(inputs.split(",")), tuple(outputs.split(",")), given)
        )
    return tuple(made)


def graph_of(text: str, **constants: tuple[float, ...]) -> Graph:
    """A graph of these operators; an input is an image."""
    values = {IMAGE.name: IMAGE}
    return replace(GRAPH, nodes=nodes(text), constants=constants, values=values)


def with_standard(graph: Graph) -> Graph:
    """It, and what is told of its operators where a file is read."""
    return replace(graph, standard=read_standard(node.op for node in graph.nodes))


def evidence(graph: Graph | None = None, track: Track = DEPTH_2025) -> Evidence:
    """Evidence of a submission whose parts all have this graph."""
    models = {part.name: Model(part.name, "onnx", "my.onnx") for part in track.parts}
    own = Evidence(track, Submission("made up", models), Path(), lambda text: None, Limits())
    own.graphs = {part.name: with_standard(graph or GRAPH) for part in track.parts}
    return own


def judge(rule: str, graph: Graph | None = None, track: Track = DEPTH_2025) -> Verdict:
    return all_rules()[rule].check(evidence(graph, track))


def answered(
    track: Track,
    answers: dict[str, np.ndarray],
    exported: dict[str, np.ndarray] | None = None,
    graph: Graph | None = None,
) -> Evidence:
    """Evidence of a model that gave these answers, by the name of the probe, and of its export."""
    own = evidence(graph, track)
    for part in track.parts:
        for key, arrays in (("own", answers), ("export", exported or {})):
            own._attempts[part.name, key] = [
                Run(part, probe, (arrays[probe.name],), SECONDS)
                for probe in probes_for(track, part)
                if probe.name in arrays
            ]
    return own


def judge_answers(
    rule: str, track: Track, answers: dict[str, np.ndarray], graph: Graph | None = None
) -> Verdict:
    return all_rules()[rule].check(answered(track, answers, graph=graph))
