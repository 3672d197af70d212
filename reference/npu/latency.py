"""Estimates the latency of an ONNX model on a device, offline: Qualcomm's compiler simulates one
chip, and a fit to published latencies carries that over to the others. Never a measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reference.cache import Cache
from reference.npu.anchors import Anchor, published_anchors
from reference.npu.calibration import (
    ATTENTION,
    KIN,
    SLOWEST,
    Calibration,
    Interval,
    Simulated,
    kind_of,
    load_calibration,
    same_chip,
)
from reference.npu.compile import Compiled
from reference.npu.devices import Device, all_devices
from reference.npu.schedule import Schedule
from reference.npu.simulation import Simulation, simulate, simulate_anchors
from reference.npu.toolchain import find_toolchain
from reference.process import Limits, Tick

Confidence = Literal["good", "low", "none"]

_SHORTEST_MS = 0.3  # below, the published latencies are mostly overhead
_WIDEST = 2.5  # upper end of an interval over the lower, for a good confidence


@dataclass(frozen=True)
class Estimate:
    """Milliseconds of one inference, by estimate; None where there can be none.

    80 % of such estimates are expected to have the true latency between `low` and `high`.
    `reasons` say why the `confidence` is not good, `remedy` what helps, `notes` what else to know,
    and `anchor` what measured latency it is tied to, empty for none. `calibration` is its version,
    `figures` are the toolchain whose latencies it is fitted to, and `toolchain` has simulated.
    `schedule` is the simulation's, of the one chip that estimates start from; None where there is
    none.
    """

    device: Device
    runtime: str
    milliseconds: float | None
    low: float | None
    high: float | None
    confidence: Confidence
    reasons: tuple[str, ...]
    remedy: str
    notes: tuple[str, ...]
    anchor: str
    calibration: str
    toolchain: str
    schedule: Schedule | None = None
    figures: str = ""

    @property
    def span(self) -> str:
        """`20.8 ms (15.5..23.8)`, or `no estimate`."""
        if self.milliseconds is None or self.low is None or self.high is None:
            return "no estimate"
        return f"{self.milliseconds:.3g} ms ({self.low:.3g}..{self.high:.3g})"

    @property
    def summary(self) -> str:
        """One line for notices and reports; it always says that nothing was measured."""
        where = f"{self.device.name}, {self.runtime}"
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        if self.milliseconds is None:
            return f"no latency estimate for {where}{why}"
        tied = f"; tied to {self.anchor}" if self.anchor else ""
        return (
            f"latency estimate for {where}: {self.span}, confidence {self.confidence}{why}{tied};"
            f" not a measurement ({self.basis})"
        )

    @property
    def basis(self) -> str:
        """The toolchains: which one simulated, and which one the calibration's latencies are of."""
        fitted = f"calibration {self.calibration} to latencies of {self.figures}"
        return f"{fitted}, simulated by {self.toolchain}"


@dataclass(frozen=True)
class _Expected:
    """Milliseconds with their interval, where they come from, and why they may be far off."""

    ms: float
    interval: Interval
    doubts: tuple[str, ...] = ()
    anchor: str = ""


def estimate(
    model: Path,
    device: Device,
    runtime: str,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
    anchors: Sequence[Anchor] = (),
) -> Estimate:
    """The latency of the ONNX file `model` on `device` with `runtime` (one of `RUNTIMES`).

    It compiles the model, and those of the anchors, for the simulated chip. A model or a device
    without an estimate is a result with the reason. Raises SubmissionError where the toolchain is
    missing or a file cannot be read.
    """
    problem, remedy = _device_problem(device, runtime, load_calibration())
    public = any(_holds(anchor, device, runtime) for anchor, _ in published_anchors())
    if problem and not (anchors or public):
        return estimate_on(Simulation(model, "", runtime, None, problem, remedy), device)
    known = simulate_anchors(anchors, runtime, limits=limits, cache=cache, tick=tick)
    simulation = simulate(model, runtime, limits=limits, cache=cache, tick=tick)
    return estimate_on(simulation, device, known)


def estimate_on(
    simulation: Simulation,
    device: Device,
    known: Sequence[tuple[Anchor, Simulation]] = (),
    calibration: Calibration | None = None,
) -> Estimate:
    """The latency on `device` of a model that was simulated; `known` are the anchors."""
    calibration = calibration or load_calibration()
    expected = None
    problem, remedy = simulation.problem, simulation.remedy
    simulated = simulation.simulated
    if simulated and not simulated.suits(kind_of(simulation.runtime)):
        problem = "3-D convolutions take 14 to 24 times as long with tflite as the graph says"
        remedy = "choose another runtime: --runtime qnn_dlc"
    if not problem:
        expected = _expected(simulation, device, known, calibration) if device.float16 else None
        problem, remedy = _device_problem(device, simulation.runtime, calibration)
        if simulated and not problem:
            problem = (
                f"the class {simulated.model_class} has no calibration for the {device.soc} with"
                f" {simulation.runtime}: too few models are published, or they scatter too far"
            )
            remedy = "measure this model for --anchors, or choose another device or --runtime"
    doubts = _doubts(expected) if expected else (problem,)
    return Estimate(
        device=device,
        runtime=simulation.runtime,
        milliseconds=expected.ms if expected else None,
        low=expected.ms * expected.interval.low if expected else None,
        high=expected.ms * expected.interval.high if expected else None,
        confidence="none" if not expected else "low" if doubts else "good",
        reasons=doubts,
        remedy="" if expected else remedy,
        notes=_notes(simulation, device, calibration, unused=bool(known) and not expected.anchor)
        if expected
        else (),
        anchor=expected.anchor if expected else "",
        calibration=calibration.version,
        figures=calibration.figures,
        toolchain=str(find_toolchain()),
        schedule=simulation.compiled.schedule if simulation.compiled else None,
    )


def _device_problem(device: Device, runtime: str, calibration: Calibration) -> tuple[str, str]:
    """Why there is no estimate for any model on the device, and what helps; empty if there is."""
    if not device.float16:
        return f"the {device.soc} has no float16", "choose a device that has it"
    if calibration.covers(device, runtime):
        return "", ""
    known = [other for other in all_devices() if calibration.covers(other, runtime)]
    alike = [other.name for other in known if other.hexagon == device.hexagon]
    names = ", ".join(alike or (other.name for other in known))
    near = f", of the same architecture ({device.hexagon})" if alike else ""
    problem = f"no published latencies of the {device.soc} with {runtime} to calibrate with"
    return problem, f"calibrated are{near}: {names}; or measure a similar model for --anchors"


def _expected(
    simulation: Simulation,
    device: Device,
    known: Sequence[tuple[Anchor, Simulation]],
    calibration: Calibration,
) -> _Expected | None:
    """The best of what is known: the same model measured, then a similar one, then the fit.

    A measurement on another device gives way to a fit with the narrower interval. What is published
    of a similar model counts where there is nothing else, or only another device's fit.
    """
    simulated = simulation.simulated
    assert simulated is not None
    assert simulation.compiled is not None
    own = _fitted(simulation, simulated, device, calibration)
    same, measured = [], []
    for anchor, other in known:
        here = same_chip(anchor.device, device)
        if other.digest == simulation.digest:
            if here:
                return _Expected(anchor.ms, Interval(1.0, 1.0, 1), (), f"measured: {anchor.label}")
            ratio = calibration.ratio(simulation.runtime, anchor.device, device)
            if ratio and not simulated.quantised:
                label = f"{anchor.label}, times {ratio.median:.3g}"
                same.append(_Expected(anchor.ms * ratio.median, ratio.interval, (), label))
        elif here and other.simulated:
            measured.append((anchor, other.simulated))
    if same:
        candidates = [*same, own] if own else same
        return min(candidates, key=lambda expected: expected.interval.width)
    if simulated.quantised:  # no pair of such models was published
        return own
    alike = _alike(simulated, measured)
    if not alike and (not own or calibration.stand_in(device)):
        public = published_anchors()
        alike = _alike(simulated, [k for k in public if _holds(k[0], device, simulation.runtime)])
    if not alike:
        return own
    anchor, base = alike
    fit = calibration.fit(device, simulation.runtime, simulated.model_class)
    fit = None if calibration.stand_in(device) else fit  # what was measured here says more
    kinship = calibration.kinships[kind_of(simulation.runtime)][simulated.model_class]
    if fit is not None and not kinship.weight:
        return own
    doubts = _graph_doubts(simulation.compiled, simulated)
    if fit is None:
        ms = anchor.ms * simulated.whole / base.whole
        label = f"{anchor.label}, times the ratio of simulated times"
        return _Expected(ms, kinship.unfitted, doubts, label)
    ms = fit.predict(simulated) * (anchor.ms / fit.predict(base)) ** kinship.weight
    label = f"{anchor.label}, a similar model, with the weight {kinship.weight:.2g}"
    return _Expected(ms, kinship.interval, doubts, label)


def _holds(anchor: Anchor, device: Device, runtime: str) -> bool:
    return same_chip(anchor.device, device) and anchor.holds_for(runtime)


def _alike(
    simulated: Simulated, known: Sequence[tuple[Anchor, Simulated]]
) -> tuple[Anchor, Simulated] | None:
    """The most similar model, None where none is similar."""
    kin = [pair for pair in known if simulated.likeness(pair[1]) >= KIN]
    return max(kin, key=lambda pair: simulated.likeness(pair[1]), default=None)


def _fitted(
    simulation: Simulation, simulated: Simulated, device: Device, calibration: Calibration
) -> _Expected | None:
    """By the fit alone; its interval says nothing of models beyond its range, where it doubles."""
    fit = calibration.fit(device, simulation.runtime, simulated.model_class)
    if fit is None or simulation.compiled is None:
        return None
    beyond = []
    least, most = fit.simulated
    if not least <= simulated.whole <= most:
        beyond.append(f"{simulated.whole:.3g} ms simulated ({least:.3g} to {most:.3g})")
    if simulated.ends > fit.ends:
        beyond.append(f"{simulated.ends:.3g} MB at its inputs and outputs (up to {fit.ends:.3g})")
    doubts = [f"beyond the models that were fitted: {what}" for what in beyond]
    interval = fit.interval.doubled if beyond else fit.interval
    known = _graph_doubts(simulation.compiled, simulated)
    if simulated.quantised:
        known = (
            f"w8a8 is experimental: fitted to {fit.interval.count} models",
            f"some quantised models ran as slowly as {SLOWEST} times what was expected",
            *known,
        )
    return _Expected(fit.predict(simulated), interval, (*known, *doubts))


def _graph_doubts(compiled: Compiled, simulated: Simulated) -> tuple[str, ...]:
    doubts = []
    if simulated.model_class == ATTENTION:
        doubts.append(
            f"attention ({simulated.kinds['Softmax']} Softmax), of which few models were measured"
        )
    uncosted = compiled.simulated.uncosted if compiled.simulated else 0
    if uncosted:
        doubts.append(f"no cost is known of {uncosted} of the compiler's internal operations")
    return tuple(doubts)


def _doubts(expected: _Expected) -> tuple[str, ...]:
    doubts = list(expected.doubts)
    if expected.ms < _SHORTEST_MS:
        doubts.append(f"below {_SHORTEST_MS} ms the overhead of a call decides")
    if expected.interval.width > _WIDEST:
        doubts.append("models like it were far off on this device when held out")
    return tuple(doubts)


def _notes(
    simulation: Simulation, device: Device, calibration: Calibration, *, unused: bool
) -> tuple[str, ...]:
    notes = ["no anchor used: none tells more than the fit"] if unused else []
    source = calibration.source(device)
    if calibration.stand_in(device):
        notes.append(f"calibrated on {source}, Qualcomm's stand-in: nothing is measured here")
    elif source not in ("", device.name):
        notes.append(f"calibrated on {source}, which has the same chip")
    if simulation.runtime == "tflite":
        notes.append("the graph that is simulated is that of a DLC")
    if not find_toolchain().qairt.startswith(calibration.qairt):
        notes.append(f"calibrated with QAIRT {calibration.qairt}, another version is installed")
    return tuple(notes)
