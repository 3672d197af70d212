"""What every track says of its inputs and output, in the track's own numbering (`SEG-1`, ...)."""

from collections.abc import Callable

from conformance.evidence import Evidence
from conformance.graph import Graph, Value
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from reference.tracks import Part, Shape, Tensor, fits, format_shape

NO_GRAPH = "no ONNX graph: the export from PyTorch failed (COM-13)"


@rule(
    "*-1",
    Level.REQUIRED,
    needs="graph",
    remedy="name the inputs at export: torch.onnx.export(..., input_names=[...])",
)
def input_names(e: Evidence) -> Verdict:
    """The model has the contract's inputs, by name, and no others.

    The evaluator feeds by name; an input that it does not know is never fed.
    """
    for part, graph in e.each_graph():
        wanted = [str(tensor.name) for tensor in part.inputs]
        found = [value.name for value in graph.inputs]
        if sorted(wanted) != sorted(found):
            remedy = "remove the extra inputs" if set(wanted) <= set(found) else ""
            return failed(", ".join(wanted), ", ".join(found) or "no input", of_part(part), remedy)
    return _all(e, lambda graph: ", ".join(value.name for value in graph.inputs))


@rule(
    "*-2",
    Level.REQUIRED,
    needs="graph",
    remedy="export with an example input of exactly this shape",
)
def input_shapes(e: Evidence) -> Verdict:
    """Every input has the contract's shape: batch axis, channels first, height before width.

    A dimension that is not fixed may stand for any size here; COM-2 is about those.
    """
    for part, graph in e.each_graph():
        for tensor, value in _matched(part, graph):
            if not fits(value.shape, tensor.shape):
                remedy = shape_hint(value.shape, tensor.shape)
                return failed(tensor.label, value.label, of_part(part), remedy)
    return _all(e, lambda graph: ", ".join(format_shape(value.shape) for value in graph.inputs))


@rule(
    "*-3",
    Level.REQUIRED,
    needs="graph",
    remedy="export with float32 images and int32 token ids; convert inside the model if need be",
)
def input_dtypes(e: Evidence) -> Verdict:
    """Every input has the contract's type: float32 pictures, int32 token ids.

    Retrieval also takes int64 ids, which `--truncate_64bit_io` makes int32 (erratum E2).
    """
    for part, graph in e.each_graph():
        for tensor, value in _matched(part, graph):
            if value.dtype not in tensor.dtypes:
                return failed(tensor.label, value.label, of_part(part))
    return _all(e, lambda graph: ", ".join(value.dtype for value in graph.inputs))


@rule(
    "*-4",
    Level.REQUIRED,
    needs="graph",
    remedy="return the one tensor that is scored; drop auxiliary heads and intermediate results",
)
def one_output(e: Evidence) -> Verdict:
    """The model returns exactly one tensor.

    The evaluator takes `output_0`; which of several that is depends on the export.
    """
    for part, graph in e.each_graph():
        if len(graph.outputs) != 1:
            names = ", ".join(value.name for value in graph.outputs)
            return failed("1 output", f"{len(graph.outputs)} outputs: {names}", of_part(part))
    return _all(e, lambda graph: graph.outputs[0].name)


@rule(
    "*-5",
    Level.REQUIRED,
    needs="graph",
    remedy="reshape or squeeze inside the model, and export again",
)
def output_shape(e: Evidence) -> Verdict:
    """The output has the contract's shape, without an extra axis and without a missing one."""
    for part, graph in e.each_graph():
        for value in graph.outputs[:1]:
            if not fits(value.shape, part.output.shape):
                remedy = shape_hint(value.shape, part.output.shape)
                return failed(part.output.label, value.label, of_part(part), remedy)
    return _all(e, lambda graph: format_shape(graph.outputs[0].shape) if graph.outputs else "none")


@rule(
    "*-6",
    Level.REQUIRED,
    needs="graph",
    remedy="end the model with .float(); QNN cannot return bool, and the evaluator reads float32",
)
def output_dtype(e: Evidence) -> Verdict:
    """The output is float32: not bool, not an integer type, not float16 or float64."""
    for part, graph in e.each_graph():
        for value in graph.outputs[:1]:
            if value.dtype not in part.output.dtypes:
                return failed(part.output.label, value.label, of_part(part))
    return _all(e, lambda graph: graph.outputs[0].dtype if graph.outputs else "none")


@rule(
    "*-10",
    Level.DOCUMENTED,
    needs="graph",
    tracks=("segmentation", "pidnet"),
    remedy="name the output at export: torch.onnx.export(..., output_names=[...])",
)
def output_name(e: Evidence) -> Verdict:
    """The output has the documented name.

    AI Hub calls it `output_0` after compilation, so that nothing breaks where it differs.
    """
    for part, graph in e.each_graph():
        for value in graph.outputs[:1]:
            if value.name != part.output.name:
                return failed(str(part.output.name), value.name, of_part(part))
    return _all(e, lambda graph: graph.outputs[0].name if graph.outputs else "none")


def shape_hint(found: Shape | None, wanted: Shape) -> str:
    """The remedy for the shapes that people really get wrong; empty for any other."""
    found = found or ()
    hints = {
        "add the batch axis: x.unsqueeze(0)": (1, *found),
        "drop the leading axis: x.squeeze(0)": found[1:] if found[:1] == (1,) else None,
        "drop the leading axes: x.squeeze(0).squeeze(0)": found[2:]
        if found[:2] == (1, 1)
        else None,
        "add the channel axis: x.unsqueeze(1)": (*found[:1], 1, *found[1:]),
        "the model is channels last: feed NCHW, x.permute(0, 3, 1, 2)": _moved(found, (0, 3, 1, 2)),
        "height and width are swapped": _moved(found, (0, 1, 3, 2)),
    }
    for hint, shape in hints.items():
        if shape is not None and fits(shape, wanted):
            return hint
    return ""


def _moved(shape: Shape, order: tuple[int, ...]) -> Shape | None:
    return tuple(shape[i] for i in order) if len(shape) == len(order) else None


def _matched(part: Part, graph: Graph) -> list[tuple[Tensor, Value]]:
    """The inputs beside the contract's, by name, or in order where they are called otherwise."""
    found = {value.name: value for value in graph.inputs}
    named = [(tensor, found[tensor.name]) for tensor in part.inputs if tensor.name in found]
    return named or list(zip(part.inputs, graph.inputs, strict=False))


def of_part(part: Part) -> str:
    """`text model`; nothing where the submission is one model."""
    return "" if part.name == "model" else f"{part.name} model"


def _all(e: Evidence, what: Callable[[Graph], str]) -> Verdict:
    if not e.graphs:
        return skipped(NO_GRAPH)
    return passed("; ".join(what(graph) for _, graph in e.each_graph()))
