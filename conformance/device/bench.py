"""All submissions of a run on a hub: what can be asked for at once is, and awaited together."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from conformance.contract.evidence import Evidence, Run
from conformance.device.hub import Hub, HubDevice
from conformance.device.jobs import (
    PartJobs,
    Profiled,
    answers,
    dataset,
    fault_of,
    median,
    read_profile,
    share,
    submit_compile,
    wait,
)
from conformance.npu.evidence import npu_probes
from conformance.subject import Progress
from reference.errors import SubmissionError
from reference.tracks import Track


@dataclass
class Entry:
    """One submission on one device. `bring` makes its host evidence when it is first needed.

    `reference` says that it is the reference of its track, and `for_time` that it is there for its
    time alone: where none is measured it has no jobs.
    """

    track: Track
    device_name: str
    bring: Callable[[], Evidence]
    reference: bool
    for_time: bool = False
    jobs: dict[str, PartJobs] = field(default_factory=dict)
    profiles: dict[str, list[Profiled]] = field(default_factory=dict)

    @cached_property
    def host(self) -> Evidence:
        """The submission on this machine."""
        return self.bring()

    @property
    def latency(self) -> float | None:
        """The sum of the parts' medians in milliseconds; None where a part has no profile."""
        if not self.jobs or any(not self.profiles.get(part) for part in self.jobs):
            return None
        return sum(median(profiles) for profiles in self.profiles.values())


class Bench:
    """The jobs of a run. `repeats` is how often each part is profiled where a device measures."""

    def __init__(self, hub: Hub, repeats: int, share: bool) -> None:
        self.hub = hub
        self.share = share
        self.entries: list[Entry] = []
        self.progress: Progress = lambda text: None
        self._repeats = repeats
        self._submitted = self._profiling = False

    def device(self, entry: Entry) -> HubDevice:
        """The device of `entry` as the hub knows it."""
        return self.hub.device(entry.device_name)

    def compile_all(self) -> None:
        """Submits the compile jobs of all entries, once."""
        if self._submitted:
            return
        self._submitted = True
        for entry in self.entries:
            if not (entry.for_time and self.device(entry).emulated):
                self._submit(entry)

    def compiled(self, entry: Entry) -> None:
        """Waits for the compile jobs of `entry`; those that failed are in the failures."""
        self.compile_all()
        for jobs in entry.jobs.values():
            self._await(entry, jobs, "compile", jobs.compiling)

    def profile_all(self) -> None:
        """Awaits all compile jobs, then submits every profile and inference job, once."""
        if self._profiling:
            return
        self._profiling = True
        self.compile_all()
        for entry in self.entries:
            self.compiled(entry)
        for entry in self.entries:
            for jobs in entry.jobs.values():
                if "compile" not in jobs.failures:
                    self._submit_runs(entry, jobs)

    def read_profiles(self, entry: Entry) -> None:
        """Waits for the profiles of `entry`."""
        self.profile_all()
        self.compiled(entry)
        for name, jobs in entry.jobs.items():
            for index, job in enumerate(jobs.profiling):
                self._await(entry, jobs, f"profile {index + 1}", job)
            if name not in entry.profiles and not failed(jobs, "profile"):
                emulated = self.device(entry).emulated
                entry.profiles[name] = [
                    read_profile(self.hub, job, emulated=emulated) for job in jobs.profiling
                ]

    def runs(self, entry: Entry) -> Iterator[Run]:
        """What the device answered to each probe."""
        self.profile_all()
        self.compiled(entry)
        for jobs in entry.jobs.values():
            if jobs.inferring is None:
                continue
            self._await(entry, jobs, "inference", jobs.inferring)
            probes = npu_probes(entry.track, jobs.part)
            if reason := jobs.failures.get("inference"):
                fault = fault_of(reason)
                yield from (Run(jobs.part, probe, (), 0.0, reason, fault) for probe in probes)
                continue
            outputs = answers(self.hub, jobs.inferring)
            if len(outputs) != len(probes):
                reason = f"{len(outputs)} answers to {len(probes)} samples"
                yield from (Run(jobs.part, probe, (), 0.0, reason) for probe in probes)
                continue
            for probe, output in zip(probes, outputs, strict=True):
                yield Run(jobs.part, probe, output, 0.0)

    def close(self) -> None:
        """Ends what was started."""
        self.hub.close()

    def _submit(self, entry: Entry) -> None:
        device = self.device(entry)
        host = entry.host
        for part, graph in host.each_graph():
            self.progress(f"uploading the {part.name} part of {entry.track.id}")
            model = host.submission.models[part.name]
            jobs = entry.jobs[part.name] = PartJobs(part)
            try:
                with tempfile.TemporaryDirectory(prefix="lpcvc-upload-") as folder:
                    jobs.compiling = submit_compile(
                        self.hub, device, entry.track, part, model, graph.path, Path(folder)
                    )
            except SubmissionError as error:
                jobs.failures["compile"] = error.problem
            if self.share and jobs.compiling is not None:
                share(self.hub, jobs.compiling)

    def _submit_runs(self, entry: Entry, jobs: PartJobs) -> None:
        device, client = self.device(entry).device, self.hub.client
        target = jobs.compiling.get_target_model()
        # An emulator's second pass takes as long as the first, and tells no more.
        emulated = self.device(entry).emulated
        options, repeats = ("--max_profiler_iterations 1", 1) if emulated else ("", self._repeats)
        probes = npu_probes(entry.track, jobs.part)
        feeds = [entry.host.feeds(jobs.part, probe) for probe in probes]
        self.progress(f"submitting {entry.track.id} {jobs.part.name} to {device.name}")
        jobs.profiling = [
            self.hub.ask(
                lambda: client.submit_inference_job(
                    model=target, device=device, profile=True, options=options
                )
            )
            for _ in range(repeats)
        ]
        jobs.inferring = self.hub.ask(
            lambda: client.submit_inference_job(
                model=target, device=device, inputs=dataset(entry.track, feeds), profile=False
            )
        )

    def _await(self, entry: Entry, jobs: PartJobs, what: str, job: object) -> None:
        if what in jobs.failures or (what, id(job)) in self._done:
            return
        name = f"{entry.track.id} {jobs.part.name}"
        reason = self.hub.ask(lambda: wait(job, lambda text: self.progress(f"{name}: {text}")))
        self._done.add((what, id(job)))
        if reason:
            jobs.failures[what] = reason

    @cached_property
    def _done(self) -> set[tuple[str, int]]:
        return set()


def failed(jobs: PartJobs, what: str) -> str:
    """Why a kind of job of a part failed, empty where none did."""
    return next((text for key, text in jobs.failures.items() if key.startswith(what)), "")
