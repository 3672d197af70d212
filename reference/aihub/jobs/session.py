"""Opens the model of an inference job: in the emulator of the NPU, or on this host's CPU."""

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reference.aihub.artifacts import recall
from reference.aihub.jobs.bench import BINARY, Bench, ask, onnx_file, specs
from reference.aihub.jobs.tflite import tflite_spec
from reference.aihub.options import RunOptions
from reference.aihub.tasks import InferenceTask, Model, ModelKind, TaskError, TensorSpec
from reference.cache import model_digest
from reference.errors import SubmissionError, ToolError
from reference.litert.compile import CompiledTflite, compile_tflite
from reference.litert.emulator import TfliteEmulator
from reference.litert.interpreter import Interpreter
from reference.litert.network import usable_network
from reference.litert.toolchain import find_litert
from reference.npu.binary import write_context
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import Device, Tuning, all_devices
from reference.npu.emulator import Context, Emulator
from reference.npu.quantize import ToolProcess
from reference.npu.toolchain import find_toolchain
from reference.process import ChildError

_ELSEWHERE = "the model was compiled elsewhere, and tells nothing that could be simulated"
_NOT_ON_NPU = "only the NPU is estimated, and the model does not run on it"

Run = Callable[[dict[str, np.ndarray]], tuple[dict[str, np.ndarray], float]]


@dataclass(frozen=True)
class Session:
    """A model that is ready to run.

    `run` gives outputs by name and the host's seconds; `peak` is the process's memory in bytes.
    `loading` is the host's seconds until it was ready and `load_peak` the memory then. `compiled`
    is what the compiler said of it and `source` the ONNX file that it compiled; where that is None
    `unknown` says why. `nodes` are its names and operators. `runtime` is what would run it on the
    device, one of `reference.npu.calibration.RUNTIMES`, and `host` runs what is not emulated.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    run: Run
    peak: Callable[[], int | None]
    loading: float
    load_peak: int
    compiled: Compiled | CompiledTflite | None
    source: Path | None
    unknown: str
    runtime: str
    nodes: tuple[tuple[str, str], ...]
    emulated: bool
    tools: dict[str, str]
    host: str = "ONNX Runtime"


@contextlib.contextmanager
def open_session(task: InferenceTask, options: RunOptions, bench: Bench) -> Iterator[Session]:
    """The model of `task`, ready to run; raises TaskError where it cannot be run here."""
    path, kind = task.model.path, task.model.kind
    match kind:
        case ModelKind.QNN_DLC:
            opened = _open_dlc(path, task.device, options, bench)
        case ModelKind.QNN_CONTEXT_BINARY:
            opened = _open_binary(path, task.device, options, bench)
        case ModelKind.ONNX:
            opened = _open_onnx(_onnx_of(task.model), task.device, options, bench)
        case ModelKind.TFLITE:
            opened = _open_tflite(path, task.device, options, bench)
        case _:
            raise TaskError("the model must be compiled first")
    with opened as session:
        yield session


def _open_dlc(
    path: Path, device: Device, options: RunOptions, bench: Bench
) -> contextlib.AbstractContextManager[Session]:
    found = recall(path)
    if not found:
        raise TaskError(
            "the local AI Hub runs only DLCs that it compiled itself; compile the model here"
        )
    compiled = bench.compile(found[0].source, device, options.tuning)
    source = found[0].source
    inputs, outputs = found[0].inputs, found[0].outputs
    return _emulate(compiled, compiled, source, "qnn_dlc", inputs, outputs, bench)


def _open_binary(
    path: Path, device: Device, options: RunOptions, bench: Bench
) -> contextlib.AbstractContextManager[Session]:
    said = bench.describe(path)
    if said["soc_model"] != device.soc_model:
        made_for = {d.soc_model: d.soc for d in all_devices()}.get(
            said["soc_model"], "another chip"
        )
        raise TaskError(f"the context binary is for {made_for}, and {device.name} has {device.soc}")
    known = {graph.inner: graph for graph in recall(path)}
    names = {known[g["name"]].name if g["name"] in known else g["name"]: g for g in said["graphs"]}
    if not options.graphs and len(names) > 1:
        raise TaskError(
            f"the context binary has the graphs {', '.join(names)}:"
            f" choose one with --qnn_options context_enable_graphs=NAME"
        )
    name = options.graphs[0] if options.graphs else next(iter(names))
    if name not in names:
        raise TaskError(f"the context binary has no graph {name!r}, but {', '.join(names)}")
    graph = names[name]
    folder = bench.scratch / "context"
    folder.mkdir()
    shutil.copyfile(path, folder / "model.bin")
    context = Context(write_context(graph, "model.bin", folder / "model.onnx"), device)
    origin = known.get(graph["name"])
    source = origin.source if origin else None
    compiled = bench.compile(source, device, Tuning()) if source else None
    inputs, outputs = specs(graph["inputs"]), specs(graph["outputs"])
    return _emulate(context, compiled, source, "qnn_context_binary", inputs, outputs, bench)


@contextlib.contextmanager
def _open_tflite(
    path: Path, device: Device, options: RunOptions, bench: Bench
) -> Iterator[Session]:
    """As on the device: what the NPU does not take runs on the CPU, and all if it takes nothing."""
    network = usable_network(path)
    compiled = None
    if "npu" in options.units:
        compiled = compile_tflite(
            path, device, tuning=options.tuning, limits=bench.limits, tick=bench.tick
        )
    on_npu = compiled if compiled is not None and not compiled.failure else None
    found = recall(path)
    start = time.perf_counter()
    with (
        Interpreter(path, bench.limits, bench.tick)
        if on_npu is None
        else TfliteEmulator(on_npu, bench.limits, bench.tick)
    ) as runner:
        tools = {"LiteRT": f"{find_litert()} on this host, not a device"}
        if on_npu is not None:
            toolchain = find_toolchain()
            tools |= {
                "QAIRT": f"{toolchain.qairt} emulator on this host, not a device",
                "onnxruntime-qnn": toolchain.onnxruntime_qnn,
            }
        yield Session(
            inputs=tuple(map(tflite_spec, network.inputs)),
            outputs=tuple(value.name for value in network.outputs),
            run=runner.timed_run,
            peak=runner.peak_memory,
            loading=time.perf_counter() - start,
            load_peak=runner.peak_memory() or 0,
            compiled=on_npu,
            source=found[0].source if found and on_npu is not None and on_npu.whole else None,
            unknown=_ELSEWHERE if on_npu is not None and on_npu.whole else _NOT_ON_NPU,
            runtime="tflite",
            nodes=tuple((each.name, each.kind) for each in network.operators),
            emulated=on_npu is not None,
            tools=tools,
            host="LiteRT",
        )


@contextlib.contextmanager
def _open_onnx(path: Path, device: Device, options: RunOptions, bench: Bench) -> Iterator[Session]:
    model_digest(path)
    with bench.worker("running the model") as process:
        found = ask(process, "inspect", model=str(path), scratch=str(bench.scratch))
        if found["binary"]:
            opened = _open_binary(Path(found["binary"]), device, options, bench)
        else:
            inputs, outputs = specs(found["inputs"]), specs(found["outputs"])
            _need_fixed_shapes(inputs)
            if options.units == ("npu",):
                compiled = bench.compile(path, device, options.tuning)
                opened = _emulate(compiled, compiled, path, "onnx", inputs, outputs, bench)
            else:
                placed = _placed(path, device, bench) if "npu" in options.units else None
                nodes = tuple((name, op) for name, op in found["nodes"])
                opened = _on_cpu(process, path, placed, nodes, inputs, outputs, bench)
        with opened as session:
            yield session


def _onnx_of(model: Model) -> Path:
    """The ONNX file of a model: of those that stand for the graphs of one binary any."""
    several = sorted(model.path.glob("*.onnx")) if (model.path / BINARY).is_file() else []
    return several[0] if len(several) > 1 else onnx_file(model)


def _need_fixed_shapes(inputs: Sequence[TensorSpec]) -> None:
    for spec in inputs:
        if not all(isinstance(size, int) for size in spec.shape):
            raise TaskError(f"input {spec.name!r} has a dynamic shape: compile it with input_specs")


def _placed(path: Path, device: Device, bench: Bench) -> Compiled | None:
    """Where ONNX Runtime would put each node on the device; None where all are on its CPU."""
    try:
        made = compile_model(path, device, limits=bench.limits, tick=bench.tick)
    except ToolError:
        raise
    except SubmissionError:
        return None
    return None if made.failure else made


@contextlib.contextmanager
def _emulate(
    model: Compiled | Context,
    compiled: Compiled | None,
    source: Path | None,
    runtime: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    bench: Bench,
) -> Iterator[Session]:
    toolchain, start = find_toolchain(), time.perf_counter()
    with Emulator(model, bench.limits, bench.tick) as emulator:
        yield Session(
            inputs=inputs,
            outputs=tuple(spec.name for spec in outputs),
            run=emulator.timed_run,
            peak=emulator.peak_memory,
            loading=time.perf_counter() - start,
            load_peak=emulator.peak_memory() or 0,
            compiled=compiled,
            source=source,
            unknown=_ELSEWHERE,
            runtime=runtime,
            nodes=(),
            emulated=True,
            tools={
                "QAIRT": f"{toolchain.qairt} emulator on this host, not a device",
                "onnxruntime-qnn": toolchain.onnxruntime_qnn,
            },
        )


@contextlib.contextmanager
def _on_cpu(
    process: ToolProcess,
    path: Path,
    compiled: Compiled | None,
    nodes: tuple[tuple[str, str], ...],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    bench: Bench,
) -> Iterator[Session]:
    start = time.perf_counter()
    runtime = ask(process, "load", model=str(path))["runtime"]
    names = tuple(spec.name for spec in outputs)
    yield Session(
        inputs=inputs,
        outputs=names,
        run=_run_on_cpu(process, names, bench.scratch),
        peak=lambda: process.ask("memory")["peak"],
        loading=time.perf_counter() - start,
        load_peak=process.ask("memory")["peak"] or 0,
        compiled=compiled,
        source=path if compiled else None,
        unknown=_NOT_ON_NPU,
        runtime="onnx",
        nodes=nodes,
        emulated=False,
        tools={"ONNX Runtime": f"{runtime} on this host, not a device"},
    )


def _run_on_cpu(process: ToolProcess, names: tuple[str, ...], scratch: Path) -> Run:
    count = itertools.count()

    def run(feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        folder = scratch / f"pass-{next(count)}"
        try:
            done = process.run(feeds, folder)
            outputs = zip(names, map(np.array, done.outputs), strict=True)
            return dict(outputs), done.seconds
        except ChildError as error:
            raise TaskError(str(error)) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return run
