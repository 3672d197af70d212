"""What the rules look at: the graph of every part, and its answer to every probe, run once."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from conformance.graph import Graph, read_graph
from conformance.probes import Probe, Role, probes_for
from conformance.runtimes.process import ModelProcess
from conformance.submission import Model, Submission
from reference.errors import SubmissionError
from reference.process import ChildError, Limits
from reference.tracks import Part, Track, fits

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One part's answer to one probe; `error` is what the model raised instead of answering."""

    part: Part
    probe: Probe
    outputs: tuple[np.ndarray, ...]
    seconds: float
    error: str = ""

    @property
    def output(self) -> np.ndarray:
        """The first output, the one that is scored."""
        return self.outputs[0]

    @property
    def keeps_contract(self) -> bool:
        """Whether the answer has the contract's shape and type."""
        wanted, found = self.part.output, self.output
        return fits(found.shape, wanted.shape) and str(found.dtype) in wanted.dtypes

    @property
    def where(self) -> str:
        """`probe 'coffee'`, with the part where the submission has several."""
        part = "" if self.part.name == "model" else f"{self.part.name} model, "
        return f"{part}probe {self.probe.name!r}"


class Evidence:
    """Everything a rule may ask about one submission to one track.

    Graphs are read at once; forward passes happen when a rule first asks for one, part by part,
    and what they returned stays on disk in `folder`. A part that cannot be loaded, crashes or goes
    beyond `limits` is in `unrunnable`, with what it was doing, and has no answers. Raises
    SubmissionError where a file cannot be read.
    """

    def __init__(
        self,
        track: Track,
        submission: Submission,
        folder: Path,
        progress: Progress,
        limits: Limits,
        choose: Callable[[Track, Part], list[Probe]] = probes_for,
    ) -> None:
        self.track = track
        self.submission = submission
        self.runtimes: dict[str, str] = {}
        self.export_errors: dict[str, str] = {}
        self.unrunnable: dict[str, tuple[str, SubmissionError]] = {}
        self._limits = limits
        self._choose = choose
        self._folder = folder
        self._progress = progress
        self._attempts: dict[tuple[str, str], list[Run]] = {}
        self._onnx = {part.name: self._onnx_path(part) for part in track.parts}

    @cached_property
    def graphs(self) -> dict[str, Graph]:
        """The ONNX graph by part: the submission's own, or its export from PyTorch."""
        return {part: read_graph(path) for part, path in self._onnx.items() if path is not None}

    def each_graph(self) -> list[tuple[Part, Graph]]:
        """The parts of the contract with their graphs, in order."""
        return [(p, self.graphs[p.name]) for p in self.track.parts if p.name in self.graphs]

    def runs(self, *roles: Role, part: str = "") -> list[Run]:
        """The answers with the contract's shape and type, of all probes or those of `roles`."""
        return answers(self.attempts(part=part), roles)

    def attempts(self, *roles: Role, part: str = "") -> list[Run]:
        """All forward passes, those that raised included."""
        return [
            run
            for contract in self.track.parts
            if part in ("", contract.name)
            for run in self._collect(contract, exported=False)
            if not roles or run.probe.role in roles
        ]

    def kept(self, *roles: Role, part: str = "") -> list[Run]:
        """As `runs`, of the forward passes that were made so far; none is made for it."""
        parts = [p.name for p in self.track.parts if part in ("", p.name)]
        return answers((r for name in parts for r in self._attempts.get((name, "own"), ())), roles)

    def exported(self, run: Run) -> Run | None:
        """The answer of the ONNX export to the same probe, for a PyTorch submission."""
        return _same_probe(self._collect(run.part, exported=True), run.probe.name)

    def pair(self, run: Run) -> Run | None:
        """The answer to the probe that `run`'s is a variation of."""
        return _same_probe(self.runs(part=run.part.name), run.probe.of)

    def feeds(self, part: Part, probe: Probe) -> dict[str, np.ndarray]:
        """The inputs of a probe, in the dtypes that the model declares and the contract accepts."""
        graph = self.graphs.get(part.name)
        declared = {value.name: value.dtype for value in graph.inputs} if graph else {}
        wanted = {
            tensor.name: declared[tensor.name]
            for tensor in part.inputs
            if tensor.name in declared and declared[tensor.name] in tensor.dtypes
        }
        return {k: v.astype(wanted.get(k, v.dtype)) for k, v in probe.feeds().items()}

    def _onnx_path(self, part: Part) -> Path | None:
        model = self.submission.models[part.name]
        if model.format == "onnx":
            return model.path
        path = self._folder / f"{part.name}-export.onnx"
        name = Path(model.target).name
        with self._process(name, lambda s: f"exporting {name} to ONNX {s:.0f} s") as process:
            try:
                process.export(model.target, model.format, self.track.id, part.name, path)
            except (ChildError, SubmissionError) as error:
                self.export_errors[part.name] = str(error)
                return None
        return path

    def _collect(self, part: Part, *, exported: bool) -> list[Run]:
        key = (part.name, "export" if exported else "own")
        if key not in self._attempts:
            self._attempts[key] = self._run_all(part, exported, self._folder / "-".join(key))
        return self._attempts[key]

    def _run_all(self, part: Part, exported: bool, folder: Path) -> list[Run]:
        model = self.submission.models[part.name]
        if exported:
            model = Model(part.name, "onnx", str(self._onnx[part.name]))
        probes = self._choose(self.track, part)
        name = Path(model.target).name
        runs: list[Run] = []
        step = f"loading {name}"
        with self._process(name, lambda _: step) as own:
            try:
                self.runtimes[part.name] = own.load(model.target, model.format)
                for index, probe in enumerate(probes):
                    count = f"{index + 1}/{len(probes)}"
                    step = f"{name}: probe {count}, {probe.name}{_left(runs, probes)}"
                    self._progress(step)
                    runs.append(
                        self._run(own, part, probe, self.feeds(part, probe), folder / str(index))
                    )
            except SubmissionError as error:
                if exported:
                    self.export_errors[part.name] = f"{error} ({step})"
                else:
                    self.unrunnable[part.name] = (step, error)
                return []
        return runs

    @staticmethod
    def _run(
        own: ModelProcess, part: Part, probe: Probe, feeds: dict[str, np.ndarray], folder: Path
    ) -> Run:
        try:
            done = own.run(feeds, folder)
        except ChildError as error:
            return Run(part, probe, (), 0.0, str(error))
        nothing = "" if done.outputs else "the model returned no tensor"
        return Run(part, probe, done.outputs, done.seconds, nothing)

    def _process(self, name: str, step: Callable[[float], str]) -> ModelProcess:
        tick = lambda seconds: self._progress(step(seconds))  # noqa: E731
        return ModelProcess(name, self._folder, tick, self._limits)


def answers(attempts: Iterable[Run], roles: Collection[Role]) -> list[Run]:
    """Those with the contract's shape and type, of all probes or those of `roles`."""
    return [
        run
        for run in attempts
        if not run.error and run.keeps_contract and (not roles or run.probe.role in roles)
    ]


def _same_probe(runs: list[Run], name: str) -> Run | None:
    return next((run for run in runs if run.probe.name == name), None)


def _left(runs: list[Run], probes: list[Probe]) -> str:
    """The time that remains, from the passes so far."""
    if not runs:
        return ""
    each = sum(run.seconds for run in runs) / len(runs)
    return f", {each:.1f} s each, about {each * (len(probes) - len(runs)):.0f} s left"
