"""What the rules of the NPU look at: each part compiled for a device, its emulated answers, and its
estimated latency.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np

from conformance.contract.evidence import Evidence, Run, answers
from conformance.contract.probes import Probe, Role, need_inputs, probes_for
from conformance.npu.pools import Wrong, try_pools
from conformance.runtimes.npu import Made, compile_file, is_tflite, no_schedule, remembered
from conformance.runtimes.ranges import Range, Ranges, find_offences, measure_ranges
from conformance.subject import Progress
from conformance.submission.graph import Graph
from reference.errors import SubmissionError, ToolError
from reference.npu.devices import Device
from reference.npu.latency import Estimate, estimate
from reference.process import ChildError, Limits, Tick
from reference.tracks import Part, Track

# How many of each: a full-size model takes the emulator minutes a pass.
_OF_A_PICTURE: dict[Role, int] = {"photo": 2, "constant": 1, "retext": 1}
_OF_A_TEXT: dict[Role, int] = {"text": 2}


def npu_probes(track: Track, part: Part) -> list[Probe]:
    """The few probes that are emulated: two photographs under one text, a constant image, and two
    texts, with one photograph where the part takes both; noise where nothing prepares these.
    """
    own = probes_for(track, part)
    wanted = _OF_A_PICTURE if part.image else _OF_A_TEXT
    chosen = [
        probe
        for role, count in wanted.items()
        for probe in [probe for probe in own if probe.role == role][:count]
    ]
    if not any(probe.role in ("photo", "text") for probe in chosen):
        return [probe for probe in own if probe.role == "noise"] + chosen
    if part.image and part.text:
        chosen[1] = _under_the_text_of(chosen[0], chosen[1], str(part.text.name))
    return chosen


def _under_the_text_of(first: Probe, second: Probe, text: str) -> Probe:
    """The picture of the second probe with the text of the first."""

    def feeds() -> dict[str, np.ndarray]:
        return {**second.feeds(), text: first.feeds()[text]}

    name = f"{second.name}, the text of {first.name}"
    return replace(second, name=name, role="repicture", feeds=feeds)


class NpuEvidence:
    """One submission on the NPU of `device`; `host` is what onnxruntime makes of the same probes.

    Parts are compiled and emulated when a rule first asks for it.
    """

    def __init__(self, device: Device, host: Evidence, progress: Progress, limits: Limits) -> None:
        self.track = host.track
        self.device = device
        self.host = host
        self._progress = progress
        self._limits = limits
        self._attempts: dict[str, list[Run]] = {}

    def each_graph(self) -> list[tuple[Part, Graph]]:
        """The parts of the contract with their ONNX graphs, in order."""
        return self.host.each_graph()

    @cached_property
    def compiled(self) -> dict[str, Made | SubmissionError]:
        """What the compiler made of each part, or why it gave no answer."""
        return {part.name: self._compile(graph) for part, graph in self.each_graph()}

    @cached_property
    def estimates(self) -> dict[str, Estimate | SubmissionError]:
        """The estimated latency of each part with the track's runtime, or why there is none."""
        return {part.name: self._estimate(graph) for part, graph in self.each_graph()}

    @cached_property
    def ranges(self) -> dict[str, Ranges | SubmissionError]:
        """The range of every tensor of each part on the host, over its photographs and texts."""
        return {part.name: self._measure(part, graph) for part, graph in self.each_graph()}

    def out_of_range(self, part: str) -> list[tuple[Range, str]]:
        """The tensors of a part that float16 does not hold, and what helps; see `find_offences`."""
        ranges = self.ranges[part]
        if isinstance(ranges, SubmissionError):
            return []
        return find_offences(self.host.graphs[part], ranges)

    def cause(self, part: str) -> str:
        """The first of these in words; empty where there is none."""
        return next((f"{each.node} is {each}" for each, _ in self.out_of_range(part)), "")

    @cached_property
    def wrong_pools(self) -> dict[str, list[Wrong] | SubmissionError]:
        """The padded pools of each part that the emulated NPU computes wrongly when alone."""
        return {part.name: self._try_pools(graph) for part, graph in self.each_graph()}

    @property
    def runnable(self) -> bool:
        """Whether every part has a context binary."""
        made = self.compiled.values()
        return bool(made) and not any(isinstance(c, SubmissionError) or c.failure for c in made)

    def runs(self, *roles: Role) -> list[Run]:
        """The emulated answers with the contract's shape and type, of all probes or of `roles`."""
        return answers(self.attempts(), roles)

    def kept(self, *roles: Role) -> list[Run]:
        """As `runs`, of the passes that were emulated so far; none is emulated for it."""
        return answers((run for runs in self._attempts.values() for run in runs), roles)

    @property
    def kept_compiled(self) -> dict[str, Made | SubmissionError]:
        """As `compiled`, empty where no rule has asked for it; nothing is compiled for it."""
        return dict(vars(self).get("compiled", {}))

    @property
    def kept_estimates(self) -> dict[str, Estimate | SubmissionError]:
        """As `estimates`, empty where no rule has asked for it; nothing is compiled for it."""
        return dict(vars(self).get("estimates", {}))

    def attempts(self, *roles: Role) -> list[Run]:
        """All emulated passes, those that raised included."""
        return [
            run
            for part, _ in self.each_graph()
            for run in self._emulated(part)
            if not roles or run.probe.role in roles
        ]

    def _compile(self, graph: Graph) -> Made | SubmissionError:
        step = f"compiling {graph.path.name} for {self.device.name}"
        try:
            return compile_file(
                graph.path, self.device, limits=self._limits, tick=self._ticking(step)
            )
        except SubmissionError as error:
            return error

    def _measure(self, part: Part, graph: Graph) -> Ranges | SubmissionError:
        tick = self._ticking(f"looking at the ranges in {graph.path.name}")
        probes = [p for p in npu_probes(self.track, part) if p.role != "constant"]
        try:
            need_inputs(self.track)
            feeds = [self.host.feeds(part, probe) for probe in probes]
            return measure_ranges(graph.path, feeds, self._limits, tick)
        except SubmissionError as error:
            return error

    def _try_pools(self, graph: Graph) -> list[Wrong] | SubmissionError:
        tick = self._ticking(f"trying the pools of {graph.path.name}")
        try:
            return try_pools(graph, self.device, self._limits, tick)
        except SubmissionError as error:
            return error

    def _estimate(self, graph: Graph) -> Estimate | SubmissionError:
        if is_tflite(graph.path):
            return no_schedule(graph.path)
        tick = self._ticking(f"simulating {graph.path.name}")
        runtime = self.track.runtime
        try:
            return estimate(graph.path, self.device, runtime, limits=self._limits, tick=tick)
        except SubmissionError as error:
            return error

    def _ticking(self, step: str) -> Tick:
        return lambda seconds: self._progress(f"{step} {seconds:.0f} s")

    def _emulated(self, part: Part) -> list[Run]:
        if part.name not in self._attempts:
            self._attempts[part.name] = list(self._emulate(part))
        return self._attempts[part.name]

    def _emulate(self, part: Part) -> Iterator[Run]:
        compiled = self.compiled[part.name]
        if isinstance(compiled, SubmissionError) or compiled.failure:
            return
        probes = npu_probes(self.track, part)
        step = f"emulating {self.device.name}"

        def tick(seconds: float) -> None:
            self._progress(f"{step} {seconds:.0f} s")

        with remembered(compiled, self._limits, tick) as emulate:
            for count, probe in enumerate(probes, 1):
                step = f"emulating {self.device.name}: probe {count}/{len(probes)}, {probe.name}"
                try:
                    outputs = emulate(self.host.feeds(part, probe))
                except (ChildError, SubmissionError) as error:
                    fault = error if isinstance(error, ToolError) else None
                    yield Run(part, probe, (), 0.0, str(error), fault)
                    if isinstance(error, SubmissionError):  # the emulator is gone
                        return
                else:
                    # The host's seconds would pass for the device's.
                    yield Run(part, probe, tuple(outputs.values()), 0.0)
