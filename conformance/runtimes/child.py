"""The child process of a submission's model: one adapter a runtime."""

import warnings
from pathlib import Path
from typing import Any

from reference.child import Child, main
from reference.errors import CheckpointWarning


class ModelChild(Child):
    """Loads and runs a model with the runtime that its form asks for."""

    def load(
        self, target: str, form: str, state: str, weights: str, threads: int = 0
    ) -> dict[str, Any]:
        """Loads a model to run on `threads`, 0 for the default; answers the runtime's name.

        What a factory makes is kept in the file `state`, or given what is kept there; the first
        weight in which it was another is answered too.
        """
        anew = ""
        if form == "onnx":
            from reference import ort

            runtime, self._run = ort.load(target, threads)
        elif form == "tflite":
            from conformance.runtimes import tflite

            runtime, self._run = tflite.load(Path(target), threads)
        else:
            from conformance.runtimes import torch

            runtime, self._run, anew = torch.load(target, form, state, weights, threads)
        return {"runtime": runtime, "built anew": anew}

    def watch(
        self, target: str, form: str, state: str, weights: str, modules: list[str]
    ) -> dict[str, Any]:
        """Loads a PyTorch model to see what its `modules` return; answers the names it has."""
        from conformance.runtimes import torch

        names, self._run = torch.watch(target, form, state, weights, modules)
        return {"modules": names}

    def export(self, **arguments: str) -> dict[str, Any]:
        """Writes a PyTorch model as ONNX."""
        from conformance.runtimes import torch

        torch.export(**arguments)
        return {}

    def trace(self, **arguments: str) -> dict[str, Any]:
        """Writes a PyTorch model as TorchScript; answers the inputs in order."""
        from conformance.runtimes import torch

        return {"inputs": torch.trace(**arguments)}

    def reference(self, track: str, folder: str, weights: str | None) -> dict[str, Any]:
        """Writes the reference model of a track as ONNX; answers the files by part, and notes."""
        from conformance.runtimes import torch

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CheckpointWarning)
            paths = torch.reference(track, folder, weights, self.tell)
        notes = [str(each.message) for each in caught if each.category is CheckpointWarning]
        return {"paths": paths, "notes": notes}


if __name__ == "__main__":
    main(ModelChild())
