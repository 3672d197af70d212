"""Quantize jobs: a float ONNX model to one with Q and DQ nodes."""

from reference.aihub.data import DataSet
from reference.aihub.jobs.bench import Bench, ask, onnx_file, specs
from reference.aihub.jobs.compile import quantize_on
from reference.aihub.tasks import Model, ModelKind, QuantizeTask, Result, TaskError
from reference.npu.cache import model_digest

_PRECISIONS = {("int8", "int8"): "w8a8", ("int8", "int16"): "w8a16"}


def quantize_job(task: QuantizeTask, bench: Bench) -> Result:
    """The quantised model of `task`; raises TaskError where it cannot be made."""
    precision = _PRECISIONS.get((task.weights, task.activations))
    if precision is None:
        raise TaskError(
            f"the local AI Hub does not support {task.weights} weights with {task.activations}"
            f" activations; choose int8 weights, and int8 or int16 activations"
        )
    if task.model.kind is not ModelKind.ONNX:
        raise TaskError("only an ONNX model can be quantised: compile it to ONNX first")
    source = onnx_file(task.model)
    model_digest(source)
    with bench.worker("reading the model") as process:
        inputs = specs(
            ask(process, "inspect", model=str(source), scratch=str(bench.scratch))["inputs"]
        )
        folder = bench.folder / "model"
        folder.mkdir(exist_ok=True)
        target = folder / "model.onnx"
        quantize_on(task.calibration, source, target, inputs, precision, bench)
        made = ask(process, "inspect", model=str(target), scratch=str(bench.scratch))
    with DataSet(task.calibration) as data:
        notice = f"calibrated on {len(data)} samples by their minima and maxima, {precision}"
    return Result(
        Model(folder, ModelKind.ONNX),
        specs(made["inputs"]),
        specs(made["outputs"]),
        notices=(notice,),
    )
