"""The child process of a submission's model: one adapter a runtime."""

import warnings
from typing import Any

from reference.child import Child, main
from reference.errors import CheckpointWarning


class ModelChild(Child):
    """Loads and runs a model with the runtime that its form asks for."""

    def load(self, target: str, form: str, threads: int = 0) -> dict[str, Any]:
        """Loads a model to run on `threads`, 0 for the default; answers the runtime's name."""
        if form == "onnx":
            from reference import ort

            runtime, self._run = ort.load(target, threads)
        else:
            from conformance.runtimes import torch

            runtime, self._run = torch.load(target, form, threads)
        return {"runtime": runtime}

    def watch(self, target: str, form: str, modules: list[str]) -> dict[str, Any]:
        """Loads a PyTorch model to see what its `modules` return; answers the names it has."""
        from conformance.runtimes import torch

        names, self._run = torch.watch(target, form, modules)
        return {"modules": names}

    def export(self, **arguments: str) -> dict[str, Any]:
        """Writes a PyTorch model as ONNX."""
        from conformance.runtimes import torch

        torch.export(**arguments)
        return {}

    def reference(self, track: str, folder: str, weights: str | None) -> dict[str, Any]:
        """Writes the reference model of a track as ONNX; answers the files by part, and notes."""
        from conformance.runtimes import torch

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CheckpointWarning)
            paths = torch.reference(track, folder, weights)
        notes = [str(each.message) for each in caught if each.category is CheckpointWarning]
        return {"paths": paths, "notes": notes}


if __name__ == "__main__":
    main(ModelChild())
