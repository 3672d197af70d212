"""What the rules of the device look at: one submission on one device of a hub."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from conformance.contract.evidence import Evidence, Run, answers
from conformance.contract.probes import Role
from conformance.device.bench import Bench, Entry, failed
from conformance.device.history import Published, Saved, find_published, runtime_of
from conformance.device.hub import HubDevice
from conformance.submission.graph import Graph
from conformance.submission.quantised import operators
from reference.tracks import Part, Track


@dataclass(frozen=True)
class Latency:
    """Milliseconds: the sum of the parts' medians, and of their lowest and highest runs."""

    median: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        spread = f", {self.low:.3g}..{self.high:.3g} over {self.runs} profile jobs"
        return f"{self.median:.4g} ms" + (spread if self.runs > 1 else "")


class DeviceEvidence:
    """One submission on one device, as the hub of `bench` reports it.

    `previous` is what an earlier run saved of it. Everything raises SubmissionError where the jobs
    cannot be submitted.
    """

    def __init__(
        self, bench: Bench, entry: Entry, baseline: Entry | None, previous: Saved | None
    ) -> None:
        self.track: Track = entry.track
        self.previous = previous
        self.is_reference = entry.reference
        self._bench, self._entry, self._baseline = bench, entry, baseline

    @property
    def host(self) -> Evidence:
        """The same submission on this machine."""
        return self._entry.host

    @property
    def device(self) -> HubDevice:
        """The device as the hub knows it."""
        return self._bench.device(self._entry)

    @property
    def shared(self) -> bool:
        """Whether the run was asked to share the compile jobs."""
        return self._bench.share

    def each_graph(self) -> list[tuple[Part, Graph]]:
        """The parts of the contract with their ONNX graphs, in order."""
        return self.host.each_graph()

    @cached_property
    def compile_failures(self) -> dict[str, str]:
        """Why a part did not compile, by part."""
        self._bench.compiled(self._entry)
        return self._failures("compile")

    @property
    def compile_jobs(self) -> dict[str, str]:
        """The ids of the compile jobs, by part."""
        self._bench.compiled(self._entry)
        return {
            name: str(jobs.compiling.job_id)
            for name, jobs in self._entry.jobs.items()
            if jobs.compiling is not None
        }

    @property
    def runtime(self) -> str:
        """What was compiled, in the words of `--target_runtime`; as it was asked for where the hub
        does not tell.
        """
        self._bench.compiled(self._entry)
        targets = [jobs.compiling.get_target_model() for jobs in self._entry.jobs.values()]
        kinds = {target.model_type.name for target in targets if hasattr(target, "model_type")}
        return kinds.pop().lower() if len(kinds) == 1 else self.track.runtime

    def shared_with(self, email: str) -> list[str]:
        """The parts whose compile job `email` can see."""
        self._bench.compiled(self._entry)
        hub = self._bench.hub
        return [
            name
            for name, jobs in self._entry.jobs.items()
            if jobs.compiling and email in hub.ask(jobs.compiling.get_sharing)
        ]

    @cached_property
    def profile_failures(self) -> dict[str, str]:
        """Why a part that compiled could not be profiled, by part."""
        self._bench.read_profiles(self._entry)
        return self._failures("profile")

    @property
    def latency(self) -> Latency | None:
        """The time of one inference of all parts; None without a profile of each."""
        return self._latency_of(self._entry)

    @property
    def baseline(self) -> Latency | None:
        """The reference's time on the same device in this run, where it is the budget."""
        return self._latency_of(self._baseline) if self._baseline else None

    @property
    def memory(self) -> tuple[int, int] | None:
        """The lowest and highest peak memory of any part and profile job, in bytes."""
        self._bench.read_profiles(self._entry)
        ranges = [p.memory for own in self._entry.profiles.values() for p in own if p.memory]
        return (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None

    @property
    def units(self) -> dict[str, int]:
        """The layers of all parts on each compute unit."""
        self._bench.read_profiles(self._entry)
        total: Counter[str] = Counter()
        for profiles in self._entry.profiles.values():
            total.update(profiles[0].units)
        return dict(total)

    @property
    def precision(self) -> str:
        """`w8a8` for a model with quantised operators, else `float`."""
        quantised = any(operators(graph).quantised for _, graph in self.each_graph())
        return "w8a8" if quantised else "float"

    @property
    def published(self) -> Published | None:
        """What is published of the track's own model on this device, in its runtime."""
        runtime = runtime_of(self.track.compile_options)
        return find_published(self.track.id, self.precision, self.device.name, runtime)

    @cached_property
    def _answers(self) -> list[Run]:
        return list(self._bench.runs(self._entry))

    def attempts(self, *roles: Role) -> list[Run]:
        """The answers to all probes or to those of `roles`, those that failed included."""
        return [run for run in self._answers if not roles or run.probe.role in roles]

    def runs(self, *roles: Role) -> list[Run]:
        """Those with the contract's shape and type."""
        return answers(self._answers, roles)

    def kept(self, *roles: Role) -> list[Run]:
        """As `runs`, of the answers that came so far; no job is submitted for it."""
        return answers(vars(self).get("_answers", ()), roles)

    @property
    def kept_latency(self) -> Latency | None:
        """As `latency`, None too where no rule has asked for it; no job is submitted for it."""
        return self.latency if self._entry.latency is not None else None

    @property
    def kept_baseline(self) -> Latency | None:
        """As `baseline`, in the same way."""
        return self.baseline if self._baseline and self._baseline.latency is not None else None

    def _failures(self, what: str) -> dict[str, str]:
        found = {name: failed(jobs, what) for name, jobs in self._entry.jobs.items()}
        return {name: reason for name, reason in found.items() if reason}

    def _latency_of(self, entry: Entry) -> Latency | None:
        self._bench.read_profiles(entry)
        total = entry.latency
        if total is None:
            return None
        times = [[p.milliseconds for p in own] for own in entry.profiles.values()]
        low, high = sum(map(min, times)), sum(map(max, times))
        return Latency(total, low, high, len(times[0]))
