"""What can be wrong with weights that lie in other files."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from conformance.rulebook import Verdict, failed
from conformance.submission.graph import External, Graph, Node

_NUMBER = re.compile(r"[0-9]{1,18}")
_SAVE_AGAIN = "save the model again: onnx.save(model, path, save_as_external_data=True)"
_KEEP_INSIDE = "keep small tensors in the .onnx: onnx.save(..., size_threshold=1024)"
# The inputs, by number, whose values shape inference reads: it must find them in the file itself,
# and onnxruntime runs it when it loads a model. test_external.py compares them with onnxruntime.
_AXES = {1: "axes"}
SHAPE_INPUTS: dict[str, dict[int, str]] = {
    "CenterCropPad": {1: "shape"},
    "ConstantOfShape": {0: "shape"},
    "Expand": {1: "shape"},
    "OneHot": {1: "depth"},
    "Pad": {1: "pads", 3: "axes"},
    "Range": {0: "start", 1: "limit", 2: "delta"},
    "Reshape": {1: "shape"},
    "Resize": {2: "scales", 3: "sizes"},
    "Slice": {1: "starts", 2: "ends", 3: "axes", 4: "steps"},
    "Split": {1: "split"},
    "Squeeze": _AXES,
    "Tile": {1: "repeats"},
    "TopK": {1: "k"},
    "Unsqueeze": _AXES,
    "Upsample": {1: "scales"},
    **{f"Reduce{name}": _AXES for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean")},
    **{f"Reduce{name}": _AXES for name in ("Min", "Prod", "Sum", "SumSquare")},
}


def misplaced(graph: Graph) -> Iterator[Verdict]:
    """Everything that keeps a runtime from the external weights of a graph."""
    by_file: dict[str, list[External]] = {}
    for external in graph.external:
        by_file.setdefault(external.location, []).append(external)
    for location, tensors in by_file.items():
        yield from _in_file(graph.path.resolve().parent, location, tensors)
    yield from _read_as_shapes(graph)


def _in_file(root: Path, location: str, tensors: list[External]) -> Iterator[Verdict]:
    """What is wrong with one file, or with what tensors want of it."""
    more = f" and {len(tensors) - 1} more need" if len(tensors) > 1 else " needs"
    name = f"{location!r}, which tensor {tensors[0].tensor!r}{more},"
    try:
        file = root / location
        inside = file.resolve().is_relative_to(root)
        size = file.stat().st_size if file.is_file() else None
    except (OSError, ValueError, RuntimeError) as error:  # NUL, too long, a link to itself
        yield failed("weights beside the model", f"{name} cannot be a file: {error}")
        return
    if not location:
        yield failed("the name of a file", f"{name} is no name", remedy=_SAVE_AGAIN)
    elif not inside or PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive:
        yield failed("weights inside the folder", f"{name} leads outside the folder")
    elif size is None:
        yield failed("weights beside the model", f"{name} is missing")
    else:
        entries = [external for external in tensors if not _odd(external)]
        for external in tensors:
            if _odd(external):
                seen = f"tensor {external.tensor!r} in {location!r} has {_odd(external)}"
                yield failed("an offset and a length in bytes", seen, remedy=_SAVE_AGAIN)
        end = max((int(entry.offset) + entry.size for entry in entries), default=0)
        if size < end:
            yield failed(f"{end} bytes", f"{name} has {size} bytes: cut short")


def _odd(external: External) -> str:
    """What is wrong with where a tensor lies in its file."""
    for what, number in (("offset", external.offset), ("length", external.length)):
        if not _NUMBER.fullmatch(number):
            return f"{what} {number!r}"
    length = int(external.length)
    if length and length != external.size:
        return f"length {length} and is of {external.size} bytes"
    return ""


def _read_as_shapes(graph: Graph) -> Iterator[Verdict]:
    """External tensors that operators take as a shape, as axes and the like."""
    outside = {external.tensor for external in graph.external}
    for node in graph.nodes:
        for index, what in SHAPE_INPUTS.get(node.op, {}).items() if not node.domain else ():
            name = node.inputs[index] if index < len(node.inputs) else ""
            if _source(graph, name) in outside:
                seen = f"tensor {name!r}, {what} of {node.label}, is in another file"
                yield failed(f"{what} in the .onnx file", seen, remedy=_KEEP_INSIDE)


def _source(graph: Graph, name: str) -> str:
    """The tensor that reaches an operator as it is."""
    seen: set[str] = set()
    node: Node | None = graph.producer(name)
    while node is not None and node.op == "Identity" and node.inputs and name not in seen:
        seen.add(name)
        name = node.inputs[0]
        node = graph.producer(name)
    return name
