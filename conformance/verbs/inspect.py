"""Say what is in a model: tensors, operators, multiply-adds."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from conformance.report.progress import stderr_progress
from conformance.submission.graph import Graph, Value, elements, megabytes, nbytes, read_graph
from conformance.submission.macs import count_macs
from conformance.verbs import Answer, limited, model_track
from conformance.verbs._models import files_by_part
from reference.errors import one_line
from reference.process import Limits

_LARGEST = 5


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[PART=]MODEL...")
@click.option("--track", metavar="TRACK", help="Whose inputs a PyTorch model is exported for.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@limited("opening or exporting a model")
def command(models: Sequence[str], track: str | None, as_json: bool, limits: Limits) -> Answer:
    """Say what is in each MODEL, without running it."""
    contract = model_track(track) if track else None
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        files = files_by_part(contract, models, Path(scratch), limits, progress)
        facts = {name: facts_of(read_graph(path, limits)) for name, path in files.items()}
    if as_json:
        return json.dumps(facts, indent=1), 0
    return "\n\n".join(_told(name, own) for name, own in facts.items()), 0


def facts_of(graph: Graph) -> dict[str, Any]:
    """What is in a graph, as `--json` has it: sizes in bytes, `macs` None where none is known."""
    macs = count_macs(graph)
    held: Counter[str] = Counter()
    for value in graph.weights.values():
        held[value.dtype] += nbytes(value)
    by_size = sorted(graph.weights.values(), key=lambda value: (-nbytes(value), value.name))
    return {
        "file": graph.path.name,
        "bytes": graph.file_bytes,
        "ir_version": graph.ir_version,
        "opsets": graph.opsets,
        "inputs": [_tensor(value) for value in graph.inputs],
        "outputs": [_tensor(value) for value in graph.outputs],
        "parameters": sum(elements(value) for value in graph.weights.values()),
        "weight_bytes": dict(held.most_common()),
        "largest": [_tensor(value) for value in by_size[:_LARGEST]],
        "operators": dict(Counter(node.op for node in graph.nodes).most_common()),
        "macs": macs.total if macs.by_op or not macs.unknown else None,
        "macs_by_operator": macs.by_op,
        "macs_unknown": [node.label for node in macs.unknown],
    }


def _tensor(value: Value) -> dict[str, Any]:
    shape = None if value.shape is None else list(value.shape)
    return {"name": value.name, "dtype": value.dtype, "shape": shape, "label": value.label}


def _told(name: str, facts: dict[str, Any]) -> str:
    rows = [
        ("file", f"{megabytes(facts['bytes'])}, {_form(facts)}"),
        *(("input", tensor["label"]) for tensor in facts["inputs"]),
        *(("output", tensor["label"]) for tensor in facts["outputs"]),
        *(_size(facts) if facts["opsets"] else ()),
        ("operators", f"{sum(facts['operators'].values())}: {_counts(facts['operators'])}"),
    ]
    lines = [one_line(name if name == facts["file"] else f"{name}, {facts['file']}")]
    shown = ""
    for head, text in rows:
        lines.append(f"  {'' if head == shown else head:<14}{one_line(text)}")
        shown = head
    return "\n".join(lines)


def _size(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is counted of ONNX alone."""
    yield "parameters", f"{facts['parameters']:,}, {_weights(facts['weight_bytes'])}"
    yield from (("largest", tensor["label"]) for tensor in facts["largest"])
    yield "multiply-adds", _macs(facts)


def _form(facts: dict[str, Any]) -> str:
    if not facts["opsets"]:
        return "TFLite"
    return f"IR {facts['ir_version']}, opset {_opsets(facts)}"


def _opsets(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name or ''} {n}".strip() for name, n in facts["opsets"].items()) or "none"


def _weights(held: dict[str, int]) -> str:
    return ", ".join(f"{megabytes(size)} of {dtype}" for dtype, size in held.items()) or "no bytes"


def _macs(facts: dict[str, Any]) -> str:
    unknown = facts["macs_unknown"]
    left = f"without {len(unknown)} of unknown size, first {unknown[0]}" if unknown else ""
    if facts["macs"] is None:
        return f"not known: {left}"
    shares = facts["macs_by_operator"]
    told = many(facts["macs"])
    if len(shares) > 1:
        told += ": " + ", ".join(f"{op} {many(count)}" for op, count in shares.items())
    return f"{told}, {left}" if left else told


def many(count: int) -> str:
    """`57.63 G`, or M for what is less than 1 G."""
    return f"{count / 1e9:.4g} G" if count >= 1e9 else f"{count / 1e6:.4g} M"


def _counts(operators: dict[str, int]) -> str:
    return ", ".join(f"{op} {count}" for op, count in operators.items())
