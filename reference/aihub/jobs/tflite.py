"""Compile jobs whose target is TFLite."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reference.aihub.data import DataSet
from reference.aihub.jobs.bench import Bench, as_json, ask, specs
from reference.aihub.options import TFLITE_PRECISIONS, CompileOptions
from reference.aihub.tasks import CompileTask, Model, ModelKind, Result, TaskError, TensorSpec
from reference.litert.convert import Input, convert_file
from reference.litert.network import Network, Value, read_network
from reference.litert.quantize import quantize_tflite

NO_SPECS = "a TorchScript model needs input_specs: it has no shapes of its own"
FORMS = {ModelKind.TORCHSCRIPT: "torchscript", ModelKind.TORCH_EXPORTED_PROGRAM: "exported"}


def compile_tflite_job(task: CompileTask, options: CompileOptions, bench: Bench) -> Result:
    """The TFLite file of a PyTorch model; raises TaskError where it cannot be made."""
    form = FORMS[task.model.kind]
    inputs = _inputs(task, bench)
    if not options.truncate_io and any(spec.dtype == "int64" for spec in inputs):
        raise TaskError("Must use --truncate_64bit_io when input tensors have type int64.")
    _check_last(options.last_inputs, inputs)
    target = bench.folder / "model.tflite"
    given = [Input(spec.name, spec.shape, spec.dtype) for spec in inputs]
    made = convert_file(
        task.model.path,
        form,
        given,
        bench.scratch / "float.tflite" if options.quantize else target,
        outputs=options.output_names,
        last_inputs=options.last_inputs,
        last_outputs=options.last_outputs,
        limits=bench.limits,
        tick=bench.tick,
    )
    notices = [*options.notices, f"converted by {made.tools}, float32"]
    network = made.network
    if options.quantize:
        network, notice = _quantised(made.path, target, network, task, options, bench)
        notices[-1] = f"converted by {made.tools}; {notice}"
    return Result(
        Model(target, ModelKind.TFLITE),
        tuple(map(tflite_spec, network.inputs)),
        tuple(map(tflite_spec, network.outputs)),
        notices=tuple(notices),
    )


def _inputs(task: CompileTask, bench: Bench) -> tuple[TensorSpec, ...]:
    """The inputs of the model in the order in which it takes them."""
    if task.model.kind is ModelKind.TORCHSCRIPT:
        if not task.input_specs:
            raise TaskError(NO_SPECS)
        return task.input_specs
    with bench.worker("reading the model") as process:
        given = as_json(task.input_specs)
        return specs(ask(process, "inputs", model=str(task.model.path), specs=given)["inputs"])


def _check_last(names: Sequence[str], inputs: Sequence[TensorSpec]) -> None:
    """Said before the converter starts, which takes its time."""
    ranks = {spec.name: len(spec.shape) for spec in inputs}
    option = "--force_channel_last_input"
    for name in names:
        if name not in ranks:
            known = ", ".join(map(repr, ranks))
            raise TaskError(f"{option} names {name!r}, and the model has {known}")
        if ranks[name] < 3:
            raise TaskError(
                f"{option} names {name!r}, which has {ranks[name]} dimensions, not 3 or more"
            )


def _quantised(
    model: Path,
    target: Path,
    network: Network,
    task: CompileTask,
    options: CompileOptions,
    bench: Bench,
) -> tuple[Network, str]:
    """The network with integers, and what is to be said of it."""
    assert task.calibration is not None, "the options are checked"
    precision = next(each for each in TFLITE_PRECISIONS if each == options.quantize)
    before = tuple(
        replace(tflite_spec(value), shape=_first(value.shape))
        if value.name in options.last_inputs
        else tflite_spec(value)
        for value in network.inputs
    )
    with DataSet(task.calibration) as data:
        data.check(before, "the model")
        examples = (
            {
                name: x.transpose(0, *range(2, x.ndim), 1) if name in options.last_inputs else x
                for name, x in data.sample(index).items()
            }
            for index in range(len(data))
        )
        count = quantize_tflite(
            model,
            target,
            examples,
            precision,
            integer_ends=options.quantize_io,
            limits=bench.limits,
            tick=bench.tick,
        )
    return read_network(target), f"calibrated on {count} samples by their extremes, {precision}"


def _first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[-1], *shape[1:-1])


def tflite_spec(value: Value) -> TensorSpec:
    """An input or output of a TFLite file."""
    zero = None if value.zero_point is None else float(value.zero_point)
    return TensorSpec(value.name, value.shape, value.dtype, value.scale, zero)
