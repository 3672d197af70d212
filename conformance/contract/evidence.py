"""What the rules look at: the graph of every part, and its answer to every probe, run once."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from conformance.contract.probes import Probe, Role, probes_for
from conformance.runtimes.process import ModelProcess
from conformance.subject import Progress
from conformance.submission.feeding import feed, match_inputs
from conformance.submission.graph import Graph, Value, read_graph
from conformance.submission.model import Model, Submission
from reference.errors import SubmissionError, ToolError
from reference.process import ChildError, Limits
from reference.tracks import Part, Track, fits


@dataclass(frozen=True)
class Run:
    """One part's answer to one probe; `error` is what the model raised instead of answering, and
    `fault` a tool's that was to run it.
    """

    part: Part
    probe: Probe
    outputs: tuple[np.ndarray, ...]
    seconds: float
    error: str = ""
    fault: ToolError | None = None

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
    beyond `limits` is in `unrunnable`, with what it was doing, and has no answers. `built_anew` has
    a weight of each part that its factory made anew. Raises SubmissionError where a file cannot be
    read.
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
        self.built_anew: dict[str, str] = {}
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
        tick = lambda seconds: self._progress(f"reading the graph {seconds:.0f} s")  # noqa: E731
        return {
            part: read_graph(path, self._limits, tick)
            for part, path in self._onnx.items()
            if path is not None
        }

    def graph(self, part: Part) -> Graph:
        """That of one part; raises SubmissionError where PyTorch could not export it."""
        if part.name not in self.graphs:
            raise SubmissionError(
                f"the {part.name} part has no ONNX side: {self.export_errors[part.name]}",
                "give it as .onnx, exported in another way",
            )
        return self.graphs[part.name]

    def each_graph(self) -> list[tuple[Part, Graph]]:
        """The parts of the contract with their graphs, in order."""
        return [(p, self.graphs[p.name]) for p in self.track.parts if p.name in self.graphs]

    def runs(self, *roles: Role, part: str = "") -> list[Run]:
        """The answers with the contract's shape and type, to the probes of `roles` or all that are
        to the contract.
        """
        return answers(self.attempts(*roles, part=part), ())

    def attempts(self, *roles: Role, part: str = "") -> list[Run]:
        """All such forward passes, those that raised included."""
        return [
            run
            for contract in self.track.parts
            if part in ("", contract.name)
            for run in self._collect(contract, exported=False)
            if (run.probe.role in roles if roles else run.probe.contract)
        ]

    def kept(self, *roles: Role, part: str = "") -> list[Run]:
        """As `runs`, of the forward passes that were made so far; none is made for it."""
        parts = [p.name for p in self.track.parts if part in ("", p.name)]
        return answers((r for name in parts for r in self._attempts.get((name, "own"), ())), roles)

    def kept_exports(self) -> list[Run]:
        """As `kept`, of the ONNX exports of a PyTorch submission."""
        names = [p.name for p in self.track.parts]
        return answers((r for name in names for r in self._attempts.get((name, "export"), ())), ())

    @property
    def kept_graphs(self) -> dict[str, Graph]:
        """As `graphs`, empty where no rule has asked for them."""
        return dict(vars(self).get("graphs", {}))

    def exported(self, run: Run) -> Run | None:
        """The answer of the ONNX export to the same probe, for a PyTorch submission."""
        return _same_probe(self._collect(run.part, exported=True), run.probe.name)

    def pair(self, run: Run) -> Run | None:
        """The answer to the probe that `run`'s is a variation of."""
        return _same_probe(self.runs(part=run.part.name), run.probe.of)

    def inputs(self, part: Part) -> dict[str, Value] | None:
        """The input of a part's graph for each tensor of the contract, None where it has none."""
        raw = self.track.image_high > 1
        return match_inputs(part, self.graphs[part.name].inputs, raw_pixels=raw)

    @property
    def feedable(self) -> bool:
        """Whether every part takes the contract's inputs, if by other names or types."""
        return all(self.inputs(part) is not None for part, _ in self.each_graph())

    def feeds(self, part: Part, probe: Probe) -> dict[str, np.ndarray]:
        """The inputs of a probe, by the names and in the types that the model declares."""
        matched = self.inputs(part) if part.name in self.graphs else None
        return feed(probe.feeds(), matched) if matched is not None else probe.feeds()

    def _onnx_path(self, part: Part) -> Path | None:
        model = self.submission.models[part.name]
        if not model.torch:
            return model.path
        path = self._folder / f"{part.name}-export.onnx"
        name = Path(model.target).name
        step = lambda s: f"exporting {name} to ONNX {s:.0f} s"  # noqa: E731
        with self._process(name, step, torch=True) as process:
            try:
                process.export(model, self.track.spec, path)
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
        with self._process(name, lambda _: step, torch=model.torch) as own:
            try:
                self.runtimes[part.name] = own.load(model)
                if own.built_anew:
                    self.built_anew[part.name] = own.built_anew
                for index, probe in enumerate(probes):
                    count = f"{index + 1}/{len(probes)}"
                    step = f"{name}: probe {count}, {probe.name}{_left(runs, probes)}"
                    self._progress(step)
                    runs.append(
                        self._run(own, part, probe, self.feeds(part, probe), folder / str(index))
                    )
            except SubmissionError as error:
                if runs and not probes[len(runs)].contract:
                    return runs  # no evaluator feeds what it died of
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

    def _process(self, name: str, step: Callable[[float], str], *, torch: bool) -> ModelProcess:
        tick = lambda seconds: self._progress(step(seconds))  # noqa: E731
        return ModelProcess(name, self._folder, tick, self._limits, torch=torch)


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
