"""A stand-in for the client of AI Hub with a device behind it: what it measures is scripted.

What it answers is what onnxruntime answers. The local hub has no times; with this one the rules
about times can be seen to fail.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime

from conformance.device.hub import Hub, HubDevice

MB = 2**20


@dataclass
class Script:
    """What the device does. `fails` gives the reason by kind of job; times are used up in order."""

    milliseconds: list[float] = field(default_factory=lambda: [20.0])
    memory: tuple[int, int] | None = (0, 400 * MB)
    units: tuple[str, ...] = ("NPU", "NPU")
    fails: dict[str, str] = field(default_factory=dict)
    spoil: Callable[[np.ndarray], np.ndarray] = lambda output: output
    drop: int = 0
    deaf: bool = False  # to sharing
    emulated: bool = False


class Job:
    """One job, finished from the start."""

    _ids = count(1)

    def __init__(self, kind: str, script: Script, **results: object) -> None:
        self.job_id, self.job_type = f"j{kind[0]}{next(self._ids)}", kind
        self._reason = script.fails.get(kind, "")
        self._emails: list[str] = []
        self._deaf = script.deaf
        self._results = results

    def wait(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(success=not self._reason, message=self._reason)

    def get_target_model(self) -> object:
        return self._results["model"]

    def modify_sharing(self, add_emails: list[str]) -> None:
        self._emails += [] if self._deaf else add_emails

    def get_sharing(self) -> list[str]:
        return self._emails

    def download_profile(self) -> object:
        return self._results["profile"]

    def download_output_data(self) -> object:
        return self._results["outputs"]


class Client:
    """The part of `qai_hub.Client` that the suite uses. `calls` is what was asked, in order."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._runs = 0
        self.calls: list[str] = []
        self.options: list[str] = []
        self.datasets: list[dict[str, list[np.ndarray]]] = []
        self.jobs: list[Job] = []

    def submit_compile_job(self, model: str, device: object, options: str, **_: object) -> Job:
        self.calls.append("compile")
        self.options.append(options)
        self.jobs.append(Job("compile", self._script, model=Path(model)))
        return self.jobs[-1]

    def submit_inference_job(
        self,
        model: Path,
        device: object,
        profile: bool,
        inputs: dict[str, list[np.ndarray]] | None = None,
        options: str = "",
    ) -> Job:
        return self._infer(model, inputs) if inputs else self._profile()

    def _profile(self) -> Job:
        self.calls.append("profile")
        times = self._script.milliseconds
        milliseconds = times[self._runs % len(times)]
        self._runs += 1
        summary = {
            "estimated_inference_time": milliseconds * 1000,
            "inference_memory_peak_range": self._script.memory,
        }
        detail = [{"name": "layer", "type": "Conv", "compute_unit": u} for u in self._script.units]
        profile = {"execution_summary": summary, "execution_detail": detail}
        return Job("profile", self._script, profile=profile)

    def _infer(self, model: Path, inputs: dict[str, list[np.ndarray]]) -> Job:
        self.calls.append("inference")
        self.datasets.append(inputs)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        samples = [
            dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)
        ]
        rows = [session.run(None, sample) for sample in samples[self._script.drop :]]
        outputs = {
            f"output_{index}": [self._script.spoil(np.asarray(row[index])) for row in rows]
            for index in range(len(rows[0]))
        }
        return Job("inference", self._script, outputs=outputs)


class ScriptedHub(Hub):
    """A hub with one real device of any name."""

    def __init__(self, script: Script) -> None:
        super().__init__("remote")
        self._client = Client(script)
        self.script = script
        self._emulates = script.emulated

    def device(self, name: str) -> HubDevice:
        listed = SimpleNamespace(name=name, os="14", attributes=["os:android", "chipset:made-up"])
        return HubDevice(listed, self.script.emulated)
