"""A stand-in for what does the jobs of a hub: a model is a text that says what is to happen.

Its lines are `<kind of job> <action> <argument>`: `compile sleep 0.5`, `inference fail no memory`,
`compile crash`, `inference estimate none`, and `compile limits` to be told them. A data set comes
back as it is.
"""

import os
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from reference.aihub.options import compile_target
from reference.aihub.tasks import (
    CompileTask,
    ComputeUnit,
    Estimated,
    InferenceTask,
    Layer,
    LinkTask,
    Model,
    ModelKind,
    Profile,
    Result,
    Task,
    TaskError,
    TensorSpec,
)
from reference.errors import ToolError
from reference.process import Limits

SPECS = (TensorSpec("image", (1, 3, 8, 8), "float32"),)
PROFILE = Profile(
    times=(3000.0, 1000.0, 2000.0),
    load_time=5000.0,
    compile_time=7000.0,
    peak_memory=4096,
    load_peak_memory=2048,
    layers=(
        Layer("conv", "Conv2d", ComputeUnit.NPU, 1500.0, 300, "matrix"),
        Layer("resize", "Resize", ComputeUnit.CPU),
    ),
    clock="nobody's: a test",
    tools={"tool": "1.2"},
    estimate=Estimated(2100.0, 1500.0, 2600.0),
    basis="latency estimate of a test: 2.1 ms (1.5..2.6); not a measurement",
    simulation="a test's simulation; not measured",
)

NOT_ESTIMATED = replace(
    PROFILE,
    layers=(Layer("conv", "Conv2d", ComputeUnit.NPU), Layer("resize", "Resize", ComputeUnit.CPU)),
    estimate=None,
    basis="not measured: no latency estimate for a test",
    simulation="",
)


def run(task: Task, folder: Path, limits: Limits) -> Result:
    folder.mkdir(parents=True)
    model = task.models[0] if isinstance(task, LinkTask) else task.model
    kind = type(task).__name__.removesuffix("Task").lower()
    data = model.path.read_bytes() if model.path.is_file() else b""
    text = data.decode() if data.isascii() else ""  # a real model says nothing of what is to happen
    if f"{kind} limits" in text:
        raise TaskError(f"{limits.timeout:g} s and {limits.memory} bytes")
    for line in text.splitlines():
        _act(kind, *line.split(" ", 2))
    log = folder / "tool.log"
    log.write_text(f"{kind} {getattr(task, 'options', '')}\n")
    if isinstance(task, InferenceTask):
        outputs = None
        if task.data is not None:
            outputs = folder / "outputs.h5"
            shutil.copyfile(task.data, outputs)
        profile = NOT_ESTIMATED if "inference estimate none" in text else PROFILE
        return Result(
            input_spec=SPECS,
            outputs=outputs,
            profile=profile,
            logs={"tool.log": log},
            notices=("a test",),
        )
    made = folder / "made"
    made.write_bytes(data)
    if isinstance(task, CompileTask):
        target = compile_target(task.options, task.device, model.kind)
    else:
        target = ModelKind.QNN_CONTEXT_BINARY if isinstance(task, LinkTask) else ModelKind.ONNX
    answers = SPECS
    if isinstance(task, LinkTask):
        answers = (replace(SPECS[0], graph="one", scale=0.5, zero_point=3.0),)
    return Result(
        model=Model(made, target),
        input_spec=task.input_specs if isinstance(task, CompileTask) else SPECS,
        output_spec=answers,
        metadata={3: "2.51"},
        logs={"tool.log": log},
    )


def _act(own: str, kind: str, action: str, argument: str = "") -> None:
    if kind != own:
        return
    match action:
        case "sleep":
            time.sleep(float(argument))
        case "fail":
            raise TaskError(argument)
        case "crash":
            os.abort()
        case "tool":
            raise ToolError(argument)
        case "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        case "print":
            print(argument)
        case "where":
            print(__file__, os.getcwd(), tempfile.gettempdir())
            raise RuntimeError(f"in {Path().absolute()} of {__file__}: {tempfile.mkdtemp()}")
        case "raise":
            raise RuntimeError(argument)
