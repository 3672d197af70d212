"""Compile jobs: a trained model to what a runtime on a device takes."""

import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reference.aihub.artifacts import Graph, recall, remember
from reference.aihub.data import DataSet
from reference.aihub.jobs.bench import BINARY, Bench, as_json, ask, metadata, onnx_file, specs
from reference.aihub.jobs.tflite import FORMS, NO_SPECS, compile_tflite_job
from reference.aihub.options import CompileOptions, compile_options, target_runtime
from reference.aihub.tasks import CompileTask, Model, ModelKind, Result, TaskError, TensorSpec
from reference.cache import model_digest
from reference.errors import SubmissionError
from reference.npu.aimet import aimet_to_qdq
from reference.npu.binary import partition_name, write_context
from reference.npu.devices import Tuning
from reference.npu.quantize import Precision, quantize

# Names that the client takes in a folder.
_ONNX, _DATA = "model.onnx", "model.data"


@dataclass(frozen=True)
class _Prepared:
    """The ONNX file of the target, with its inputs and outputs."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def compile_job(task: CompileTask, bench: Bench) -> Result:
    """The target model of `task`; raises TaskError where it cannot be made."""
    if task.model.kind is ModelKind.QNN_CONTEXT_BINARY:
        return _wrap(task, bench)
    options = compile_options(task.options)
    runtime = target_runtime(options, task.device, task.model.kind)
    if runtime == "tflite":
        return _tflite(task, options, bench)
    made = _prepared(_source(task, bench), task, options, runtime, bench)
    notices = list(options.notices)
    if not options.runtime and runtime == "qnn_dlc":
        notices.append("no target runtime was named: AI Hub makes TFLite then, this hub a DLC")
    if options.truncate_tensors:
        notices.append("--truncate_64bit_tensors changed nothing: the compiler does that by itself")
    if runtime == "onnx":
        if options.tuning != Tuning():
            notices.append("an ONNX model is tuned where it is compiled for a chip: when it runs")
        target = Model(made.path.parent, ModelKind.ONNX)
        return Result(target, made.inputs, made.outputs, notices=tuple(notices))
    if options.tuning != Tuning() and runtime == "qnn_dlc":
        notices.append("a DLC is tuned where it is compiled for a chip: when it runs, or is linked")
    compiled = bench.compile(made.path, task.device, options.tuning, dlc=runtime == "qnn_dlc")
    log = bench.folder / "compile.log"
    shutil.copyfile(compiled.log, log)
    name = options.graph
    if runtime == "qnn_dlc":
        target = Model(bench.folder / "model.dlc", ModelKind.QNN_DLC)
        shutil.copyfile(compiled.dlc, target.path)
        remember(target.path, [Graph(name, "", made.path, made.inputs, made.outputs)])
        facts = metadata(ModelKind.QNN_DLC, graphs=[name] if name else [])
    else:
        inner = partition_name(compiled.context)
        graph = Graph(name or inner, inner, made.path, made.inputs, made.outputs)
        remember(compiled.binary, [graph])
        kind = ModelKind.QNN_CONTEXT_BINARY
        facts = metadata(kind, task.device, [graph.name], options.tuning)
        if name:
            notices.append(f"the graph that is called {name!r} here is {inner!r} in the binary")
        if runtime == "qnn_context_binary":
            target = Model(bench.folder / BINARY, ModelKind.QNN_CONTEXT_BINARY)
            shutil.copyfile(compiled.binary, target.path)
        else:
            target = _embed(compiled.binary, bench)[0]
    return Result(
        target, made.inputs, made.outputs, facts, logs={log.name: log}, notices=tuple(notices)
    )


def _tflite(task: CompileTask, options: CompileOptions, bench: Bench) -> Result:
    """A TFLite file; the ONNX file of the same model is kept for the latency estimate."""
    result = compile_tflite_job(task, options, bench)
    assert result.model is not None, "it has made one"
    if options.quantize:
        return result
    try:
        plain = replace(options, last_inputs=(), last_outputs=())
        made = _prepared(_source(task, bench), task, plain, "tflite", bench)
    except (TaskError, SubmissionError) as error:
        notice = f"no latency estimate will be had: {error}"
        return replace(result, notices=(*result.notices, notice))
    remember(result.model.path, [Graph("", "", made.path, made.inputs, made.outputs)])
    return result


def _source(task: CompileTask, bench: Bench) -> Path:
    """The uploaded model as an ONNX file."""
    kind = task.model.kind
    if kind in FORMS:
        if kind is ModelKind.TORCHSCRIPT and not task.input_specs:
            raise TaskError(NO_SPECS)
        output = bench.scratch / "exported.onnx"
        with bench.worker("exporting the model to ONNX") as process:
            ask(
                process,
                "export",
                model=str(task.model.path),
                form=FORMS[kind],
                specs=as_json(task.input_specs),
                output=str(output),
            )
        return output
    if kind not in (ModelKind.ONNX, ModelKind.AIMET_ONNX):
        raise TaskError("only PyTorch, ONNX and AIMET models and QNN context binaries compile")
    source = onnx_file(task.model)
    model_digest(source)  # refuses what is no ONNX, and data outside its folder
    if kind is ModelKind.ONNX:
        return source
    encodings = sorted(task.model.path.rglob("*.encodings"))
    if len(encodings) != 1:
        raise TaskError(f"an AIMET model must hold one .encodings file, and has {len(encodings)}")
    output = bench.scratch / "qdq.onnx"
    return aimet_to_qdq(source, encodings[0], output, limits=bench.limits, tick=bench.tick)


def _prepared(
    source: Path, task: CompileTask, options: CompileOptions, runtime: str, bench: Bench
) -> _Prepared:
    """The model under the names, with the types and in the layouts of the target."""
    given = task.input_specs
    if not options.quantize:
        return _change(source, given, options, runtime, bench)
    assert task.calibration is not None, "the options are checked"
    plain = replace(options, quantize_io=False, last_inputs=(), last_outputs=())
    made = _change(source, given, plain, "", bench)
    output = bench.scratch / "quantised.onnx"
    quantize_on(task.calibration, made.path, output, made.inputs, options.quantize, bench)
    return _change(output, (), options, runtime, bench)


def _change(
    source: Path,
    given: tuple[TensorSpec, ...],
    options: CompileOptions,
    runtime: str,
    bench: Bench,
) -> _Prepared:
    """For ONNX Runtime the model is optimised and lies with the results."""
    folder = bench.scratch / f"{source.stem}-target"
    folder.mkdir(exist_ok=True)
    output = folder / _ONNX
    with bench.worker("preparing the model") as process:
        answer = ask(
            process,
            "prepare",
            model=str(source),
            output=str(output),
            specs=as_json(given),
            refuse_int64=runtime not in ("", "onnx"),
            change=asdict(options),
            name=options.graph,
        )
        if runtime == "onnx":
            prepared, output = output, bench.folder / "model" / _ONNX
            output.parent.mkdir(exist_ok=True)
            ask(process, "optimise", model=str(prepared), output=str(output), data=_DATA)
    return _Prepared(output, specs(answer["inputs"]), specs(answer["outputs"]))


def quantize_on(
    calibration: Path,
    model: Path,
    output: Path,
    inputs: tuple[TensorSpec, ...],
    precision: Precision,
    bench: Bench,
) -> None:
    """Quantises the ONNX file `model` on the data set `calibration`."""
    with DataSet(calibration) as data:
        data.check(inputs, "the model")
        examples = (data.sample(index) for index in range(len(data)))
        quantize(model, output, examples, precision, limits=bench.limits, tick=bench.tick)


def _wrap(task: CompileTask, bench: Bench) -> Result:
    """An ONNX model of a context binary."""
    target, graphs = _embed(task.model.path, bench)
    several = len(graphs) > 1
    inputs, outputs = (
        tuple(
            replace(spec, graph=name if several else "")
            for name, graph in graphs.items()
            for spec in specs(graph[side])
        )
        for side in ("inputs", "outputs")
    )
    files = ", ".join(f"{name}.onnx" for name in graphs)
    notices = (f"a file for each graph of the one binary: {files}",) if several else ()
    return Result(target, inputs, outputs, notices=notices)


def _embed(binary: Path, bench: Bench) -> tuple[Model, dict[str, dict[str, Any]]]:
    """A folder of the binary and an ONNX file that stands for each of its graphs; and these by the
    names that their owner gave them.
    """
    known = {graph.inner: graph.name for graph in recall(binary)}
    graphs = {known.get(g["name"], g["name"]): g for g in bench.describe(binary)["graphs"]}
    folder = bench.folder / "model"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(binary, folder / BINARY)
    for name, graph in graphs.items():
        if len(graphs) > 1 and not re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII):
            raise TaskError(f"graph {name!r} would give its file no name: use letters and digits")
        write_context(graph, BINARY, folder / (f"{name}.onnx" if len(graphs) > 1 else _ONNX))
    return Model(folder, ModelKind.ONNX), graphs
