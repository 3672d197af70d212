"""Compiles a TFLite file for the NPU of a device with Qualcomm's plugin for LiteRT, in a child
process, and keeps the result.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reference.cache import Cache, file_digest
from reference.errors import ToolError
from reference.litert.network import Network, read_network, usable_network
from reference.litert.plugin import find_failure, read_placement, selected_none, soc_name
from reference.litert.process import LiteRtProcess
from reference.litert.toolchain import find_litert
from reference.npu.devices import Device, Tuning
from reference.npu.process import NpuProcess
from reference.npu.toolchain import find_toolchain
from reference.npu.trace import (
    Placement,
    Traffic,
    find_shortage,
    read_traffic,
)
from reference.process import ChildError, Limits, Tick

MODEL = "model.tflite"
_LOG = "compile.log"
_FORMAT = "tflite 3"  # of an entry of the cache; to be raised when its files change


@dataclass(frozen=True)
class Step:
    """A part of a compiled model: `operators` of TFLite's that run on the CPU, or one NPU graph.

    `inputs` and `outputs` are tensors by number, in the order of the `file`: a TFLite file, or a
    context binary that holds `graph`, described as `reference.npu.binary.describe` does (None for
    the CPU).
    """

    npu: bool
    operators: int
    file: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    graph: dict[str, Any] | None


@dataclass(frozen=True)
class CompiledTflite:
    """What the plugin made of a TFLite file for a device; all files are in `folder`.

    `tools` are versions. `failure` says why nothing was made and `remedy` what helps; both are
    empty where something was. `steps` are in the order in which they run; `tensors` are the numbers
    of inputs and outputs among theirs, by name. `graphs` are the QNN graphs as JSON and `dlcs`,
    where asked for, the same as DLC, a file each partition.
    `seconds` and `peak_memory` (bytes) are the plugin's when it ran, before for a `cached` result.
    """

    device: Device
    tools: str
    network: Network
    placement: Placement
    failure: str
    remedy: str
    steps: tuple[Step, ...]
    tensors: dict[str, dict[str, int]]
    traffic: Traffic | None
    graphs: tuple[str, ...]
    dlcs: tuple[str, ...]
    seconds: float
    peak_memory: int
    cached: bool
    folder: Path

    @property
    def whole(self) -> bool:
        """Whether every operator runs on the NPU."""
        return not self.failure and not self.placement.cpu

    @property
    def partitions(self) -> int:
        """How many graphs the NPU runs."""
        return sum(step.npu for step in self.steps)

    @property
    def model(self) -> Path:
        """The TFLite file with the NPU's graphs inside, for LiteRT on the device."""
        return self.folder / MODEL

    @property
    def binary(self) -> Path:
        """What stands for a context binary: `model`."""
        return self.model

    @property
    def toolchain(self) -> str:
        """The versions: `tools`."""
        return self.tools

    @property
    def notes(self) -> tuple[str, ...]:
        """What was rewritten ahead of the compiler: nothing."""
        return ()

    @property
    def simulated(self) -> None:
        """The plugin simulates nothing."""

    @property
    def log(self) -> Path:
        """Everything that the plugin and the compiler said."""
        return self.folder / _LOG


def compile_tflite(
    model: Path,
    device: Device,
    *,
    dlc: bool = False,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
) -> CompiledTflite:
    """Compiles the TFLite file `model` for `device`.

    Float32 becomes float16 on the NPU. What the plugin does not take stays on the CPU, as TFLite
    does. With `dlc` the NPU's graphs are written as DLC too. A result of the same file, chip,
    options and versions is taken from the `cache` (by default the user's).

    A file that nothing comes of is a result with a `failure`. Raises SubmissionError where TFLite
    or QAIRT is not installed, for a file that cannot be run
    (`reference.litert.network.usable_network`), and where the plugin crashes or goes beyond
    `limits`.
    """
    tools = f"{find_litert()}, {find_toolchain()}"
    network = usable_network(model)
    cache = cache or Cache()
    facts = (_FORMAT, tools, file_digest(model), soc_name(device), dlc, tuning)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()
    make = partial(_compile, model, network, device, dlc, tuning, limits, tick)
    entry, record, cached = cache.compiled(key, make)
    kept = {
        **record,
        "placement": Placement.of(record["placement"]),
        "steps": tuple(_step(**step) for step in record["steps"]),
        "traffic": Traffic(**record["traffic"]) if record["traffic"] else None,
        "graphs": tuple(record["graphs"]),
        "dlcs": tuple(record["dlcs"]),
    }
    return CompiledTflite(
        **kept, device=device, tools=tools, network=network, cached=cached, folder=entry
    )


def _step(**fields: Any) -> Step:
    return Step(
        **{**fields, "inputs": tuple(fields["inputs"]), "outputs": tuple(fields["outputs"])}
    )


def _compile(
    model: Path,
    network: Network,
    device: Device,
    dlc: bool,
    tuning: Tuning,
    limits: Limits,
    tick: Tick,
    folder: Path,
) -> dict[str, Any]:
    """Lets the plugin write into `folder`; everything of `CompiledTflite` that can be kept."""
    name = f"compiling {model.name}"
    with LiteRtProcess(name, tick, limits, tool="LiteRT") as process:
        try:
            answer = process.ask(
                "compile",
                model=str(model.resolve()),
                folder=str(folder.resolve()),
                soc=soc_name(device),
                dlc=dlc,
                tuning=dataclasses.asdict(tuning),
            )
        except ChildError as error:
            raise ToolError(f"Qualcomm's plugin for LiteRT failed while {name}: {error}") from None
        log = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
        if shortage := find_shortage(log):
            raise process.out_of_memory(shortage)
    made = read_network(folder / MODEL) if answer["made"] else network
    graphs = sorted(path.name for path in folder.glob("*.json"))
    placement = read_placement(network, made, log, _count(folder, graphs))
    failure, remedy = _failure(log, answer["made"], placement, device)
    return {
        "placement": dataclasses.asdict(placement),
        "failure": failure,
        "remedy": remedy,
        "steps": [] if failure else _described(folder, answer["steps"], limits, tick),
        "tensors": {
            "inputs": {value.name: value.index for value in made.inputs},
            "outputs": {value.name: value.index for value in made.outputs},
        },
        "traffic": dataclasses.asdict(t) if (t := read_traffic(log)) else None,
        "graphs": graphs,
        "dlcs": sorted(path.name for path in folder.glob("*.dlc")),
        "seconds": answer["seconds"],
        "peak_memory": answer["memory"],
    }


def _failure(log: str, made: bool, placement: Placement, device: Device) -> tuple[str, str]:
    """Why nothing runs on the NPU, and what helps; both empty where something does."""
    if placement.npu:
        return "", ""
    if not placement.cpu:
        return "there is nothing to compile: it has no operator", "convert the model again"
    if not made and not selected_none(log):
        return f"Qualcomm's plugin makes nothing of it: {find_failure(log)}", (
            "take the model as ONNX, or report it with the log"
        )
    node = placement.cpu[0]
    if not device.float16:
        return (
            f"no operator runs on the NPU: {device.soc} has no float16",
            "quantise the model to int8, or choose a device with float16",
        )
    return f"no operator runs on the NPU: {node.op} {node.name!r}: {node.reason}", (
        node.remedy or "write it with operators that the NPU has"
    )


def _count(folder: Path, graphs: list[str]) -> int:
    """The NPU operators of the graphs in JSON."""
    found = (json.loads((folder / name).read_text(encoding="utf-8")) for name in graphs)
    return sum(len(graph["graph"]["nodes"]) for graph in found)


def _described(
    folder: Path, steps: list[dict[str, Any]], limits: Limits, tick: Tick
) -> list[dict[str, Any]]:
    """The steps, those of the NPU with what their binary says of their graph."""
    said: dict[str, dict[str, Any]] = {}
    with NpuProcess("reading the context binary", tick, limits) as process:
        for file in sorted({step["file"] for step in steps if step["npu"]}):
            graphs = process.ask("describe", binary=str((folder / file).resolve()))["graphs"]
            said |= {f"{file} {graph['name']}": graph for graph in graphs}
    return [
        {**step, "graph": said[f"{step['file']} {step['graph']}"] if step["npu"] else None}
        for step in steps
    ]
