"""Lets Qualcomm's compiler simulate a model on the one chip that latency estimates start from."""

import contextlib
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from reference.cache import Cache, model_digest
from reference.errors import SubmissionError
from reference.npu.anchors import Anchor
from reference.npu.calibration import Simulated, kind_of
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import find_device
from reference.npu.exporters import rewrite
from reference.npu.integers import find_uncovered, is_quantised
from reference.npu.layout import make_channel_last, save_model
from reference.npu.toolchain import find_toolchain
from reference.process import Limits, Tick

SIMULATED_DEVICE = "QCS9075 (Proxy)"
# A model that spends more of its simulated time on one vector thread alone is not estimated: the
# compiler found no way to share its largest operators out, and devices are not that slow.
ALONE_SHARE = 0.5
_ALONE_MS = 1.0  # less is one small operator


@dataclass(frozen=True)
class Simulation:
    """A model in the compiler's simulation, in the layout of a runtime.

    `digest` identifies the model itself, and `ends` are the millions of bytes of its inputs and
    outputs in float32. `rewritten` says what was simulated in another form than it is written in,
    and a `quantised` model is w8a8.
    Where nothing could be simulated `compiled` has no simulated time, or is None, and `problem`
    says why.
    """

    model: Path
    digest: str
    runtime: str
    compiled: Compiled | None
    problem: str = ""
    remedy: str = ""
    ends: float = 0.0
    rewritten: tuple[str, ...] = ()
    quantised: bool = False

    @property
    def milliseconds(self) -> float | None:
        """The simulated time, of a model without an estimate too; None where there is none."""
        time = self.compiled.simulated if self.compiled else None
        return time.ms if time else None

    @property
    def simulated(self) -> Simulated | None:
        """What the estimate needs of it; None where there is a problem."""
        if self.problem or not self.compiled:
            return None
        time, schedule = self.compiled.simulated, self.compiled.schedule
        if not time or not schedule:
            return None
        return Simulated(
            time.ms,
            schedule.matrix,
            schedule.vector,
            schedule.dma,
            self.ends,
            schedule.kinds,
            self.quantised,
        )


def simulate(
    model: Path,
    runtime: str,
    *,
    as_written: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
) -> Simulation:
    """Compiles `model` for the simulated chip, with images as `runtime` has them.

    What exporters write in several ways is written in one first (`reference.npu.exporters`), unless
    it is to be simulated `as_written`. Raises SubmissionError where the toolchain is missing or the
    file cannot be read.
    """
    find_toolchain()
    digest = model_digest(model)
    whole = onnx.load(model)
    quantised = is_quantised(whole)
    if quantised and (uncovered := find_uncovered(whole)):
        problem = f"the model is quantised, of which only w8a8 convolution is covered: {uncovered}"
        return Simulation(model, digest, runtime, None, problem, "estimate the float model")
    ends = _ends(whole.graph)
    rewritten = () if as_written or quantised else _rewrite(whole)
    try:
        with tempfile.TemporaryDirectory(prefix="lpcvc-layout-") as folder:
            path = model
            images = kind_of(runtime) != "onnx" and make_channel_last(whole)
            if rewritten or images:
                path = save_model(whole, Path(folder) / model.name)
            compiled = compile_model(
                path,
                find_device(SIMULATED_DEVICE),
                schedule=True,
                limits=limits,
                cache=cache,
                tick=tick,
            )
    except SubmissionError as error:
        return Simulation(model, digest, runtime, None, error.problem, error.remedy)
    problem, remedy = _problem(compiled)
    found = Simulation(model, digest, runtime, compiled, problem, remedy, ends, rewritten)
    return replace(found, quantised=quantised)


def _rewrite(model: onnx.ModelProto) -> tuple[str, ...]:
    """What was rewritten; nothing in a graph that breaks ONNX's rules, which the compiler says."""
    with contextlib.suppress(KeyError, IndexError, ValueError, RuntimeError):
        return rewrite(model)
    return ()


def simulate_anchors(
    anchors: Sequence[Anchor],
    runtime: str,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
) -> list[tuple[Anchor, Simulation]]:
    """The anchors that hold for `runtime`, each with the simulation of its model."""
    return [
        (anchor, simulate(anchor.model, runtime, limits=limits, cache=cache, tick=tick))
        for anchor in anchors
        if anchor.holds_for(runtime)
    ]


def _ends(graph: onnx.GraphProto) -> float:
    weights = {tensor.name for tensor in graph.initializer}
    values = [value for value in (*graph.input, *graph.output) if value.name not in weights]
    sizes = (math.prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values)
    return 4e-6 * int(sum(sizes))


def _problem(compiled: Compiled) -> tuple[str, str]:
    """Why the compiled model has no simulated time that means anything, and what helps."""
    if compiled.failure:
        return f"the compiler refuses it: {compiled.failure}", compiled.remedy
    left = compiled.placement.cpu
    if left:
        first = f"{left[0].op} {left[0].name!r}: {left[0].reason}"
        what = "1 node stays" if len(left) == 1 else f"{len(left)} nodes stay"
        remedy = left[0].remedy or "write the operator in another way"
        return f"{what} on the CPU, the first {first}", remedy
    time, schedule = compiled.simulated, compiled.schedule
    if time is None or schedule is None:
        return "the compiler gives no simulated time", "read its log"
    if schedule.alone > max(ALONE_SHARE * time.ms, _ALONE_MS):
        largest = schedule.operators[0]
        problem = (
            f"one vector thread works alone for {schedule.alone / time.ms:.0%} of the simulated"
            f" time, first in {largest.op} {largest.name!r}"
        )
        return problem, "write that operator in another way: lpcvc estimate --why names the others"
    return "", ""
