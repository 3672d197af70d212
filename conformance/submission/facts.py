"""What is in a model, of one graph at a time: tensors, operators, multiply-adds."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from conformance.submission.graph import Graph, Value, elements, megabytes, nbytes
from conformance.submission.macs import count_macs

_LARGEST = 5


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


def rows_of(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The same in words: what it is, and its value; what there are several of has several rows."""
    return [
        ("file", f"{megabytes(facts['bytes'])}, {_form(facts)}"),
        *(("input", tensor["label"]) for tensor in facts["inputs"]),
        *(("output", tensor["label"]) for tensor in facts["outputs"]),
        *(_size(facts) if facts["opsets"] else ()),
        ("operators", f"{sum(facts['operators'].values())}: {_counts(facts['operators'])}"),
    ]


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
