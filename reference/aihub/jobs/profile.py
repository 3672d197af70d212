"""What a profile job reports. Nothing of it is measured on a device: the time is the estimate, the
layers have the compiler's simulation, and what this host took is said to be the host's.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from reference.aihub.jobs.bench import Bench
from reference.aihub.jobs.session import Session
from reference.aihub.tasks import ComputeUnit, Estimated, InferenceTask, Layer, Profile
from reference.errors import SubmissionError
from reference.npu.compile import Compiled, compile_model
from reference.npu.latency import estimate
from reference.npu.schedule import Operator, Schedule
from reference.npu.trace import Node

_TOKEN = re.compile(r"_token_\d+$")  # behind the name of what the compiler rewrote
_NOT_MEASURED = "not measured"


def profile_of(
    session: Session, seconds: list[float], peak: int, task: InferenceTask, bench: Bench
) -> Profile:
    """The profile of a model that took the host's `seconds` for each pass, and `peak` bytes."""
    compiled = session.compiled
    expected, basis = _estimate(session, task, bench)
    schedule = _schedule(session, bench)
    doing = "emulating the NPU" if session.emulated else "on its CPU"
    return Profile(
        times=tuple(second * 1e6 for second in seconds),
        load_time=session.loading * 1e6,
        compile_time=compiled.seconds * 1e6 if compiled else 0.0,
        peak_memory=peak,
        load_peak_memory=session.load_peak,
        layers=_layers(session, schedule),
        clock=f"this host's, {doing}; it says nothing of a device",
        tools=session.tools,
        estimate=expected,
        basis=basis,
        simulation=_simulation(compiled) if isinstance(compiled, Compiled) and schedule else "",
    )


def _estimate(session: Session, task: InferenceTask, bench: Bench) -> tuple[Estimated | None, str]:
    """The latency estimate and what it rests on, or why there is none."""
    if session.source is None:
        return None, f"{_NOT_MEASURED}: no latency estimate: {session.unknown}"
    try:
        found = estimate(
            session.source, task.device, session.runtime, limits=bench.limits, tick=bench.tick
        )
    except SubmissionError as error:
        return None, f"{_NOT_MEASURED}: no latency estimate: {error.problem}"
    if found.milliseconds is None or found.low is None or found.high is None:
        return None, f"{_NOT_MEASURED}: {found.summary}"
    micros = (1000 * ms for ms in (found.milliseconds, found.low, found.high))
    return Estimated(*micros), found.summary


def _schedule(session: Session, bench: Bench) -> Schedule | None:
    """What the compiler simulates each operator to take; None for the chips that it does not."""
    compiled, source = session.compiled, session.source
    if not isinstance(compiled, Compiled) or source is None or compiled.simulated is None:
        return None
    try:
        made = compile_model(
            source, compiled.device, schedule=True, limits=bench.limits, tick=bench.tick
        )
    except SubmissionError:
        return None
    return made.schedule


def _simulation(compiled: Compiled) -> str:
    """Whose times the layers have."""
    whole = compiled.simulated
    assert whole is not None
    missing = f", {whole.uncosted} operators not counted" if whole.uncosted else ""
    return (
        f"the compiler's simulation of {compiled.device.soc}: {whole.ms:g} ms,"
        f" {whole.lowest_ms:g} to {whole.highest_ms:g} ms{missing}; {_NOT_MEASURED}"
    )


def _layers(session: Session, schedule: Schedule | None) -> tuple[Layer, ...]:
    if session.compiled is None:
        unit = ComputeUnit.NPU if session.emulated else ComputeUnit.CPU
        return tuple(Layer(name, op, unit) for name, op in session.nodes)
    placement = session.compiled.placement
    left = (Layer(node.name, node.op, ComputeUnit.CPU) for node in placement.cpu)
    return (*npu_layers(placement.npu, schedule.operators if schedule else ()), *left)


def npu_layers(nodes: Sequence[Node], operators: Sequence[Operator]) -> tuple[Layer, ...]:
    """The nodes with the simulated time of their operators; operators of no node come last.

    A node without an operator is fused with another, and has no time of its own.
    """
    names = {node.name for node in nodes}
    own: dict[str, list[Operator]] = defaultdict(list)
    for operator in operators:
        plain = operator.name if operator.name in names else _TOKEN.sub("", operator.name)
        own[plain if plain in names else operator.name].append(operator)
    layers = [_layer(node.name, node.op, own.pop(node.name, [])) for node in nodes]
    others = [_layer(each.name, each.op, [each]) for rest in own.values() for each in rest]
    return (*layers, *others)


def _layer(name: str, op: str, operators: Sequence[Operator]) -> Layer:
    if not operators:
        return Layer(name, op, ComputeUnit.NPU)
    longest = max(operators, key=lambda operator: operator.ms)
    micros = 1000 * sum(operator.ms for operator in operators)
    return Layer(name, op, ComputeUnit.NPU, micros, part=longest.unit)
