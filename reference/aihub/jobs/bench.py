"""What every job works with: its folder, its limits, and child processes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference.aihub.artifacts import read_spec
from reference.aihub.tasks import Model, ModelKind, TaskError, TensorSpec
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import Device, Tuning
from reference.npu.process import NpuProcess
from reference.npu.quantize import ToolProcess
from reference.npu.toolchain import find_toolchain
from reference.process import ChildError, ChildProcess, Limits, Tick

BINARY = "model.bin"  # beside the ONNX files that stand for its graphs
# Keys of `ModelMetadataKey` in the client's protocol.
_QAIRT, _GRAPHS, _HEXAGON, _SOC, _BACKEND, _VTCM, _OPTIMISATION = 3, 30, 31, 32, 33, 34, 35


@dataclass(frozen=True)
class Bench:
    """Results go to `folder`; `scratch` does not outlive the job."""

    folder: Path
    scratch: Path
    limits: Limits
    tick: Tick

    def worker(self, name: str) -> ToolProcess:
        """A child process for ONNX and PyTorch models; `name` is what messages call it."""
        return ToolProcess("reference.aihub.worker", name, self.scratch, self.tick, self.limits)

    def describe(self, binary: Path) -> dict[str, Any]:
        """What a context binary says of itself: see `reference.npu.binary.describe`."""
        find_toolchain()
        with NpuProcess("reading the context binary", self.tick, self.limits) as process:
            try:
                return process.ask("describe", binary=str(binary))
            except ChildError as error:
                raise TaskError(f"the context binary cannot be read: {error}") from None

    def compile(
        self, model: Path, device: Device, tuning: Tuning, *, dlc: bool = False
    ) -> Compiled:
        """`model` compiled for `device`; raises TaskError where the NPU does not take all of it."""
        made = compile_model(
            model, device, dlc=dlc, tuning=tuning, limits=self.limits, tick=self.tick
        )
        if made.failure and not (made.placement.npu and made.placement.cpu):
            advice = f"; {made.remedy}" if made.remedy else ""
            if not device.float16 and "float16" in made.failure:
                advice = "; quantise it first (submit_quantize_job) and add --quantize_io"
            raise TaskError(made.failure + advice)
        if made.placement.cpu:
            node = made.placement.cpu[0]
            others = len(made.placement.cpu) - 1
            more = f", and {others} more nodes" if others else ""
            raise TaskError(
                f"the NPU does not take {node.op} {node.name!r}{more}: {node.reason}"
                + (f"; {node.remedy}" if node.remedy else "")
            )
        return made


def ask(process: ChildProcess, do: str, **arguments: Any) -> dict[str, Any]:
    """The answer to one request; raises TaskError where the model or the child refuses."""
    try:
        answer = process.ask(do, **arguments)
    except ChildError as error:
        raise TaskError(str(error)) from None
    if "refusal" in answer:
        raise TaskError(answer["refusal"])
    return answer


def specs(tensors: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """The specs in an answer."""
    return tuple(map(read_spec, tensors))


def as_json(tensors: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    """The specs for a request."""
    return [asdict(tensor) for tensor in tensors]


def onnx_file(model: Model) -> Path:
    """The one ONNX file of an ONNX model; raises TaskError where there is none, or more."""
    if model.path.is_file():
        return model.path
    found = sorted(model.path.rglob("*.onnx"))
    if len(found) != 1:
        raise TaskError(f"the model must hold one .onnx file, and has {len(found)}")
    return found[0]


def metadata(
    kind: ModelKind,
    device: Device | None = None,
    graphs: Sequence[str] = (),
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
) -> dict[int, str]:
    """What is told of a target model; `device` is the one that a context binary is for."""
    if kind not in (ModelKind.QNN_CONTEXT_BINARY, ModelKind.QNN_DLC):
        return {}
    found = {_QAIRT: find_toolchain().qairt}
    if graphs:
        found[_GRAPHS] = ",".join(graphs)
    if device is not None:
        found |= {
            _HEXAGON: device.hexagon,
            _SOC: device.soc,
            _BACKEND: "HTP",
            _VTCM: f"{tuning.vtcm_mb or device.vtcm_mb} MB",
            _OPTIMISATION: str(tuning.level),
        }
    return found
