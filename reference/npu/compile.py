"""Compiles an ONNX model for the NPU of a device, in a child process, and keeps the result."""

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reference.cache import Cache, model_digest
from reference.npu.devices import Device, Tuning
from reference.npu.process import BINARY, CONTEXT, PROFILE, SCHEDULE, TRACE, NpuProcess
from reference.npu.schedule import Operator, Schedule, read_schedule
from reference.npu.toolchain import Toolchain, find_toolchain
from reference.npu.trace import (
    NPU,
    Placement,
    SimulatedTime,
    Traffic,
    find_generated,
    find_remedy,
    read_placement,
    read_simulated,
    read_traffic,
)
from reference.process import ChildError, ChildProcess, Limits, Tick

_DLC, _LOG = "model.dlc", "compile.log"
# Of an entry of the cache; to be raised when its files change, or the options of the compiler.
_FORMAT = "5"
_WRONG_LAYOUT = re.compile(r"Node '(?P<name>.*)' OpType:\S+ with domain:com\.ms\.internal\.nhwc")
_NO_FLOAT16 = re.compile(r"SocModel doesn't support FP16")


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a model for a device.

    `failure` says why it did not make what was asked for and `remedy` what helps; both are empty
    where it did. `notes` say what was rewritten because onnxruntime fails on it ahead of the
    compiler. `simulated` is the compiler's simulation of the device, None for most chips and where
    a node is left to the CPU.
    `seconds` and `peak_memory` (bytes, None where the system does not tell) are those of the
    compiler when it ran, which for a `cached` result was before. All files are in `folder`.
    """

    device: Device
    toolchain: Toolchain
    placement: Placement
    failure: str
    remedy: str
    notes: tuple[str, ...]
    traffic: Traffic | None
    simulated: SimulatedTime | None
    schedule: Schedule | None
    seconds: float
    peak_memory: int | None
    cached: bool
    folder: Path

    @property
    def whole(self) -> bool:
        """Whether every node runs on the NPU."""
        return not self.failure and not self.placement.cpu

    @property
    def context(self) -> Path:
        """The ONNX file that stands for the compiled model; it needs `binary` beside it."""
        return self.folder / CONTEXT

    @property
    def binary(self) -> Path:
        """The context binary."""
        return self.folder / BINARY

    @property
    def dlc(self) -> Path:
        """The DLC, where one was asked for."""
        return self.folder / _DLC

    @property
    def log(self) -> Path:
        """Everything that the compiler said."""
        return self.folder / _LOG


def compile_model(
    model: Path,
    device: Device,
    *,
    dlc: bool = False,
    schedule: bool = False,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
) -> Compiled:
    """Compiles the ONNX file `model`, with its external data beside it, for `device`.

    Float32 models become float16. The file stays as it is: a copy goes to the compiler, in which
    every node has a name and which onnxruntime does not fail on (`reference.npu.normalise`). With
    `dlc` a DLC is written too, and with `schedule` the simulated schedule is read, for the chips
    that the compiler simulates. A result of the same model, chip, options and toolchain is taken
    from the `cache` (by default the user's). `tick` is called with the seconds waited while the
    compiler works.

    A model that the compiler refuses is a result with a `failure`. Raises SubmissionError where
    the toolchain is missing, the file cannot be read, or the compiler crashes or goes beyond
    `limits`.
    """
    toolchain = find_toolchain()
    cache = cache or Cache()
    usual = (_FORMAT, toolchain, model_digest(model), device.soc_model, dlc, schedule)
    facts = usual if tuning == Tuning() else (*usual, tuning)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()
    make = partial(_compile, model, device, dlc, schedule, tuning, limits, tick)
    entry, record, cached = cache.compiled(key, make)
    return _compiled(record, device=device, toolchain=toolchain, cached=cached, folder=entry)


def _compile(
    model: Path,
    device: Device,
    dlc: bool,
    schedule: bool,
    tuning: Tuning,
    limits: Limits,
    tick: Tick,
    folder: Path,
) -> dict[str, Any]:
    """Lets the compiler write into `folder`; everything of `Compiled` that can be kept."""
    name = f"compiling {model.name}"
    with NpuProcess(name, tick, limits) as process:
        answer = process.ask(
            "compile",
            model=str(model.resolve()),
            folder=str(folder.resolve()),
            soc_model=device.soc_model,
            level="optrace" if schedule else "basic",
            tuning=dataclasses.asdict(tuning),
        )
        process.check_memory()
        log = process.printed()
        (folder / _LOG).write_text(log, encoding="utf-8")
        placement = read_placement(answer["nodes"], _text(folder / TRACE), log)
        failure, remedy = _failure(answer["problem"], placement, device, log)
        if dlc and not failure:
            failure, remedy = _write_dlc(process, model, folder)
    simulated = None if placement.cpu else read_simulated(_text(folder / PROFILE))
    return {
        "placement": dataclasses.asdict(placement),
        "failure": failure,
        "remedy": remedy,
        "notes": answer["notes"],
        "traffic": _as_dict(read_traffic(log)),
        "simulated": _as_dict(simulated),
        "schedule": _as_dict(_take_schedule(folder, simulated)),
        "seconds": answer["seconds"],
        "peak_memory": answer["memory"],
    }


def _failure(problem: str, placement: Placement, device: Device, log: str) -> tuple[str, str]:
    """Why there is no context binary (empty if there is), and what helps."""
    layout = _WRONG_LAYOUT.search(problem)
    if problem and (generated := find_generated(log)):
        failure = "the compiler accepts {} and fails on it then: {}".format(*generated)
        return failure, find_remedy(failure)
    if problem and not layout:
        return problem, find_remedy(problem) or "check it with onnx.checker, or export it again"
    if placement.npu:
        return "", ""
    if not placement.cpu:
        return "nothing is left to compile: all of it is constant", "give the model with its inputs"
    # One refused operator is enough where the compiler has changed the layout for it.
    culprits = [n for n in placement.cpu if layout and layout["name"].startswith(n.name)]
    node = (culprits or placement.cpu)[0]
    if _NO_FLOAT16.search(node.reason):
        return f"the model computes in float, and {device.soc} has no float16", node.remedy
    what = "the whole model is refused for" if layout else "no node runs on the NPU:"
    return f"{what} {node.op} {node.name!r}: {node.reason}", node.remedy


def _write_dlc(process: ChildProcess, model: Path, folder: Path) -> tuple[str, str]:
    """Writes the DLC; why it could not be, and what helps."""
    parts = folder / "dlc"
    parts.mkdir()
    remedy = "write the operators that it leaves to the CPU in another way"
    try:
        nodes = process.ask("dlc", model=str(model), folder=str(parts))["nodes"]
    except ChildError as error:
        return f"no DLC could be written: {error}", remedy
    found, left = list(parts.iterdir()), [op for provider, _, op in nodes if provider != NPU]
    if left or len(found) != 1:
        return f"a DLC cannot hold the whole model, not its {', '.join(sorted({*left}))}", remedy
    found[0].rename(folder / _DLC)
    parts.rmdir()
    return "", ""


def _take_schedule(folder: Path, simulated: SimulatedTime | None) -> Schedule | None:
    """The schedule, where there is one; its file, tens of MB, does not stay."""
    log, binary = folder / SCHEDULE, folder / BINARY
    if not log.exists():
        return None
    profile = log.read_bytes()
    log.unlink()
    if simulated is None or not binary.exists():
        return None
    return read_schedule(profile, _text(folder / TRACE), binary.read_bytes(), simulated.ms)


def _compiled(record: dict[str, Any], **fields: Any) -> Compiled:
    traffic, simulated, schedule = (record[k] for k in ("traffic", "simulated", "schedule"))
    kept = {
        **record,
        "placement": Placement.of(record["placement"]),
        "notes": tuple(record["notes"]),
        "traffic": Traffic(**traffic) if traffic else None,
        "simulated": SimulatedTime(**simulated) if simulated else None,
        "schedule": _schedule(**schedule) if schedule else None,
    }
    return Compiled(**kept, **fields)


def _schedule(operators: list[dict[str, Any]], **fields: Any) -> Schedule:
    return Schedule(operators=tuple(Operator(**operator) for operator in operators), **fields)


def _as_dict(value: Traffic | SimulatedTime | Schedule | None) -> dict[str, Any] | None:
    return dataclasses.asdict(value) if value else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
