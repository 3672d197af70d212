"""What every track says of its inputs and output, in the track's own numbering (`SEG-1`, ...)."""

from collections import Counter
from collections.abc import Callable, Iterator

from conformance.contract.evidence import Evidence
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.shape_hints import keras_hint, shape_hint
from conformance.submission.graph import Graph, Value
from reference.registry import editions, packages
from reference.tracks import CHANNEL_LAST, Part, Shape, Tensor, Track, fits, format_shape

NAME_INPUTS = "name the inputs at export: torch.onnx.export(..., input_names=[...])"
EXACT_INPUT = "export with an example input of exactly this shape"
ONE_TENSOR = "return the one tensor that is scored; drop auxiliary heads and intermediate results"
RESHAPE = "reshape or squeeze inside the model, and export again"
ONE_FILE_EACH = "both encoders are in one file: export each to a file of its own"
NO_GRAPH = "no ONNX graph: the export from PyTorch failed (COM-13)"


@rule(
    "*-1",
    Level.REQUIRED,
    needs="graph",
    blocks=False,
    remedy=NAME_INPUTS,
)
def input_names(e: Evidence) -> Verdict:
    """The model has the contract's inputs, by name, and no others.

    The evaluator feeds by name; an input that it does not know is never fed.
    """

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            wanted = [str(tensor.name) for tensor in part.inputs]
            found = [value.name for value in graph.inputs]
            if sorted(wanted) != sorted(found):
                seen = ", ".join(found) or "no input"
                remedy = _names_remedy(e.track, part, found, keras=graph.of_tensorflow)
                yield failed(", ".join(wanted), seen, of_part(part), remedy)

    return together(offences()) or _all(
        e, lambda graph: ", ".join(value.name for value in graph.inputs)
    )


@rule(
    "*-2",
    Level.REQUIRED,
    needs="graph",
    remedy=EXACT_INPUT,
)
def input_shapes(e: Evidence) -> Verdict:
    """Every input has the contract's shape: batch axis, channels first unless the contract has them
    last, height before width.

    A dimension that is not fixed may stand for any size here; COM-2 is about those.
    """

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            for tensor, value in _matched(part, graph):
                if not fits(value.shape, tensor.shape):
                    remedy = _shape_remedy(e.track, part, tensor, value, keras=graph.of_tensorflow)
                    yield failed(tensor.label, value.label, of_part(part), remedy)

    return together(offences()) or _all(
        e, lambda graph: ", ".join(format_shape(value.shape) for value in graph.inputs)
    )


@rule(
    "*-3",
    Level.REQUIRED,
    needs="graph",
    blocks=False,
    remedy="export with float32 images and int32 token ids; convert inside the model if need be",
)
def input_dtypes(e: Evidence) -> Verdict:
    """Every input has the contract's type: float32 pictures, int32 token ids (retrieval: or int64).

    Of int64 ids `--truncate_64bit_io`, which retrieval compiles with, makes int32 (erratum E2).
    """

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            for tensor, value in _matched(part, graph):
                if value.dtype not in tensor.dtypes:
                    remedy = _type_remedy(tensor, value)
                    yield failed(tensor.label, value.label, of_part(part), remedy)

    return together(offences()) or _all(
        e, lambda graph: ", ".join(value.dtype for value in graph.inputs)
    )


@rule(
    "*-4",
    Level.REQUIRED,
    needs="graph",
    blocks=False,
    remedy=ONE_TENSOR,
)
def one_output(e: Evidence) -> Verdict:
    """The model returns exactly one tensor.

    The evaluator takes `output_0`; which of several that is depends on the export.
    """

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            if len(graph.outputs) != 1:
                names = ", ".join(value.name for value in graph.outputs)
                seen = f"{len(graph.outputs)} outputs{f': {names}' if names else ''}"
                found = [value.name for value in graph.inputs]
                remedy = ONE_FILE_EACH if _all_parts(e.track, found) else ONE_TENSOR
                yield failed("1 output", seen, of_part(part), remedy)

    return together(offences()) or _all(e, lambda graph: graph.outputs[0].name)


@rule(
    "*-5",
    Level.REQUIRED,
    needs="graph",
    remedy=RESHAPE,
)
def output_shape(e: Evidence) -> Verdict:
    """The output has the contract's shape, without an extra axis and without a missing one."""

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            for value in graph.outputs[:1]:
                if not fits(value.shape, part.output.shape):
                    remedy = _reshape(graph, value, part.output.shape)
                    yield failed(part.output.label, value.label, of_part(part), remedy)

    return together(offences()) or _all(
        e, lambda graph: format_shape(graph.outputs[0].shape) if graph.outputs else "none"
    )


@rule(
    "*-6",
    Level.REQUIRED,
    needs="graph",
    remedy="end the model with .float(); QNN cannot return bool, and the evaluator reads float32",
)
def output_dtype(e: Evidence) -> Verdict:
    """The output has the contract's type, on every track float32: neither bool nor an integer type,
    float16 or float64.
    """

    offences = (
        failed(part.output.label, value.label, of_part(part))
        for part, value in _first_outputs(e)
        if value.dtype not in part.output.dtypes
    )
    return together(offences) or _all(
        e, lambda graph: graph.outputs[0].dtype if graph.outputs else "none"
    )


@rule(
    "*-10",
    Level.DOCUMENTED,
    needs="graph",
    when=lambda track: all(part.output.name for part in track.parts),
    remedy="name the output at export: torch.onnx.export(..., output_names=[...])",
)
def output_name(e: Evidence) -> Verdict:
    """The output has the documented name.

    AI Hub calls it `output_0` after compilation, so that nothing breaks where it differs.
    """

    offences = (
        failed(str(part.output.name), graph.outputs[0].name, of_part(part), remedy)
        for part, graph in e.each_graph()
        for remedy in [_output_remedy(part) if graph.of_tensorflow else ""]
        if graph.outputs and graph.outputs[0].name != part.output.name
    )
    return together(offences) or _all(
        e, lambda graph: graph.outputs[0].name if graph.outputs else "none"
    )


def _names_remedy(track: Track, part: Part, found: list[str], *, keras: bool) -> str:
    """What helps against these names."""
    wanted = [str(tensor.name) for tensor in part.inputs]
    if not found:
        return "trace with real inputs: none was left in the graph"
    if _all_parts(track, found):
        return ONE_FILE_EACH
    missing, extra = set(wanted) - set(found), set(found) - set(wanted)
    if not missing:
        return f"remove the extra inputs: {', '.join(sorted(extra)) or 'one name stands twice'}"
    if not extra:
        return f"use {', '.join(sorted(missing))} in forward(): what is not read is traced away"
    if keras:
        return f"name the inputs in Keras: {_keras_inputs(missing, part)}"
    return NAME_INPUTS


def _keras_inputs(names: set[str], part: Part) -> str:
    """`keras.Input((3, 480, 640), name='image')` for those of a part's inputs."""
    own = (tensor for tensor in part.inputs if tensor.name in names)
    return ", ".join(f"keras.Input({tensor.shape[1:]}, name={tensor.name!r})" for tensor in own)


def _all_parts(track: Track, found: list[str]) -> bool:
    """Whether one file takes the inputs of every part of a track that has several."""
    names = {str(tensor.name) for part in track.parts for tensor in part.inputs}
    return len(track.parts) > 1 and names <= set(found)


def _shape_remedy(track: Track, part: Part, tensor: Tensor, value: Value, *, keras: bool) -> str:
    """What helps against this shape; with the edition that takes these axes as they are."""
    hint = keras_hint(value.shape, tensor.shape, "input", str(tensor.name)) if keras else ""
    hint = hint or shape_hint(value.shape, tensor.shape, "input") or EXACT_INPUT
    for other in editions(track.name) if track.name in packages() else ():
        for own in (p.image for p in other.parts if p.name == part.name and tensor is part.image):
            if own and own.shape == value.shape and Counter(own.shape) == Counter(tensor.shape):
                return f"{hint}; or hold it to {other.id}, compiled with {other.compile_options}"
    if tensor is part.image and value.shape and Counter(value.shape) == Counter(tensor.shape):
        return f"{hint}{_layout_hint(track, tensor, value)}"
    return hint


def _layout_hint(track: Track, tensor: Tensor, value: Value) -> str:
    """What AI Hub's option does about a picture whose channels are elsewhere."""
    assert value.shape is not None
    option, channels = f"{CHANNEL_LAST} {tensor.name}", tensor.shape[tensor.channels]
    last = value.shape[-1] == channels != value.shape[1]
    if last and tensor.name in track.fed_channels_last:
        return f"; or compile it without {option}: it takes its channels last as it is"
    if not last and tensor.channels > 1:
        return f"; or compile it with {option}, which feeds its channels last"
    return ""


def _type_remedy(tensor: Tensor, value: Value) -> str:
    """What helps against this type."""
    if value.dtype == "unknown":
        return "take a tensor: the evaluator feeds no sequence and no optional value"
    wanted = tensor.dtypes[0]
    if tensor.kind == "picture":
        return f"export with a {wanted} picture, and begin forward() with a cast to {value.dtype}"
    return f"export with {wanted} ids, and cast to {value.dtype} inside forward() if need be"


def _reshape(graph: Graph, value: Value, wanted: Shape) -> str:
    keras = keras_hint(value.shape, wanted, "output", value.name) if graph.of_tensorflow else ""
    return keras or shape_hint(value.shape, wanted, "output") or RESHAPE


def _output_remedy(part: Part) -> str:
    return f"return a dict in Keras: keras.Model(inputs, {{{part.output.name!r}: output}})"


def _first_outputs(e: Evidence) -> Iterator[tuple[Part, Value]]:
    """The output that is scored, where a part has one."""
    return ((part, value) for part, graph in e.each_graph() for value in graph.outputs[:1])


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
