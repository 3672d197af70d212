"""A submission's model in a process of its own."""

import warnings
from pathlib import Path

from conformance.submission.model import Model
from reference.errors import CheckpointWarning, SubmissionError
from reference.process import ChildError, ChildProcess, Limits, Tick


class ModelProcess(ChildProcess):
    """A model in a child process of its own, which has PyTorch to begin with where it is a `torch`
    model. A context manager.

    `built_anew` is a weight in which the model of a factory, loaded here, was another one than when
    it was first made, empty where there is none; it was given the first one's weights.
    """

    built_anew = ""

    def __init__(
        self, name: str, folder: Path, tick: Tick, limits: Limits, *, torch: bool = False
    ) -> None:
        module, ahead = "conformance.runtimes.child", "torch" if torch else ""
        super().__init__(module, name, folder, tick, limits, ahead=ahead)

    def load(self, model: Model, threads: int = 0) -> str:
        """Loads the model; the name and version of the runtime that took it.

        `threads` is what a forward pass may use, 0 for the runtime's own choice. Raises
        SubmissionError if it cannot be loaded.
        """
        try:
            answer = self.ask("load", **_source(model), threads=threads)
        except ChildError as error:
            remedy = {
                "onnx": "check it with onnx.checker, or export it again",
                "tflite": "convert it again with operators of TFLite's own",
                "factory": "make the factory run on its own first: it takes no arguments",
            }.get(model.format, "save it again with the PyTorch version that is installed here")
            raise SubmissionError(f"{self.name} cannot be loaded: {error}", remedy) from None
        with self.reading():
            self.built_anew = str(answer["built anew"])
            return str(answer["runtime"])

    def watch(self, model: Model, modules: list[str]) -> list[str]:
        """Loads a PyTorch model whose outputs are what its `modules` return; the names it has.

        Raises ChildError where there is no such module.
        """
        answer = self.ask("watch", **_source(model), modules=modules)
        with self.reading():
            return [str(name) for name in answer["modules"]]

    def export(self, model: Model, track: str, path: Path) -> None:
        """Writes a PyTorch model as ONNX to `path`; raises ChildError where it cannot be."""
        self.ask("export", **_source(model), track=track, part=model.part, path=str(path))

    def trace(self, model: Model, track: str, path: Path) -> list[str]:
        """Writes a PyTorch model as TorchScript to `path`; the names of the contract's inputs as
        its forward takes them. Raises ChildError where it cannot be.
        """
        own = {**_source(model), "track": track, "part": model.part, "path": str(path)}
        answer = self.ask("trace", **own)
        with self.reading():
            return [str(name) for name in answer["inputs"]]

    def reference(self, track: str, folder: Path, weights: Path | None) -> dict[str, Path]:
        """Writes the reference model of a track as ONNX into `folder`; the files by part.

        Raises SubmissionError where the weights or a library do not allow it.
        """
        where = str(weights) if weights else None
        try:
            answer = self.ask("reference", track=track, folder=str(folder), weights=where)
        except ChildError as error:
            raise SubmissionError(
                f"{self.name} failed: {error}", "check it with the tests of reference/"
            ) from None
        for note in answer["notes"]:
            warnings.warn(note, CheckpointWarning, stacklevel=2)
        return {part: Path(path) for part, path in answer["paths"].items()}


def export_onnx(model: Model, track: str, path: Path, limits: Limits, tick: Tick) -> None:
    """Writes a PyTorch model as ONNX to `path`, in a child; raises SubmissionError."""
    name = model.path.name
    with ModelProcess(name, path.parent, tick, limits, torch=True) as process:
        try:
            process.export(model, track, path)
        except ChildError as error:
            raise SubmissionError(
                f"{name} cannot be exported to ONNX: {error}",
                "export it to ONNX yourself and give the .onnx file",
            ) from None


def _source(model: Model) -> dict[str, str]:
    return {
        "target": model.target,
        "form": model.format,
        "state": model.state,
        "weights": model.weights,
    }
