"""What `graph` is told of a TFLite file: its inputs, outputs and operators."""

from pathlib import Path
from typing import Any

from reference.litert.network import Network, Value, usable_network

DOMAIN = "tflite"


def describe_tflite(path: Path) -> dict[str, Any]:
    """The fields of a Graph but for its path, of a TFLite file that can be run.

    Of a quantised input or output the type is float32, in which it is fed and answers here.
    Operators have the domain `tflite` and as attribute `type` that of what they give; tensors
    inside are called by their numbers. Raises SubmissionError for any other file.
    """
    network = usable_network(path)
    inputs, outputs = (list(map(_value, side)) for side in (network.inputs, network.outputs))
    return {
        "form": "tflite",
        "made_by": "",
        "file_bytes": path.stat().st_size,
        "ir_version": 0,
        "opsets": {},
        "inputs": inputs,
        "outputs": outputs,
        "declared": outputs,
        "values": [*inputs, *outputs],
        "nodes": _nodes(network),
        "weights": [],
        "constants": {},
        "external": [],
    }


def _value(value: Value) -> dict[str, Any]:
    dtype = value.dtype if value.scale is None else "float32"
    return {"name": value.name, "dtype": dtype, "shape": value.shape}


def _nodes(network: Network) -> list[dict[str, Any]]:
    names = {value.index: value.name for value in (*network.inputs, *network.outputs)}

    def tensors(indices: tuple[int, ...]) -> list[str]:
        return [names.get(index, str(index)) if index >= 0 else "" for index in indices]

    return [
        {
            "name": each.name,
            "op": each.kind,
            "domain": DOMAIN,
            "inputs": tensors(each.inputs),
            "outputs": tensors(each.outputs),
            "attributes": {"type": each.dtype},
        }
        for each in network.operators
    ]
