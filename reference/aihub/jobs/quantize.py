"""Quantize jobs: a float ONNX model to one with Q and DQ nodes."""

from reference.aihub.data import DataSet
from reference.aihub.jobs.bench import Bench, ask, onnx_file, specs
from reference.aihub.jobs.compile import quantize_on
from reference.aihub.options import PRECISIONS, quantize_options
from reference.aihub.tasks import Model, ModelKind, QuantizeTask, Result
from reference.cache import model_digest


def quantize_job(task: QuantizeTask, bench: Bench) -> Result:
    """The quantised model of `task`; raises TaskError where it cannot be made."""
    precision = PRECISIONS[task.weights, task.activations]
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
        notices=(notice, *quantize_options(task.options).notices),
    )
