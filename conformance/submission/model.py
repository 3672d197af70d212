"""A submission as data: the models of its parts, each a file or what makes one."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from reference.errors import SubmissionError

Format = Literal["onnx", "tflite", "torchscript", "exported", "factory", "reference", "answers"]


@dataclass(frozen=True)
class Model:
    """One part of a submission: a file, or for a factory `module:name` or `file.py:name`, which is
    a module of PyTorch or what makes one.

    The PyTorch side of a reference model is `track:part:weights`. `state` is the file that keeps
    what a factory has made, so that every process has the same model, and `weights` a state dict
    for it.
    """

    part: str
    format: Format
    target: str
    state: str = ""
    weights: str = ""

    @property
    def torch(self) -> bool:
        """Whether it is PyTorch: no file yet that a compiler takes."""
        return self.format not in ("onnx", "tflite")

    @property
    def path(self) -> Path:
        """The file; for a factory, what the user typed."""
        return Path(self.target)

    def given(self, weights: Path) -> "Model":
        """A factory with a state dict; raises SubmissionError for what is none."""
        if self.format != "factory":
            raise SubmissionError(
                f"--weights is for a reference or a factory, and {self.path.name} has its own",
                "leave --weights out, or give file.py:factory",
            )
        return replace(self, weights=str(weights))


@dataclass(frozen=True)
class Submission:
    """The models of one submission by part, and what the user calls it.

    `originals` are the PyTorch or ONNX models that parts are known to come from. Of a track that
    takes a package instead there are no models, and `package` is what its room made of it.
    """

    label: str
    models: dict[str, Model]
    originals: dict[str, Model] = field(default_factory=dict)
    package: Any = None

    @property
    def torch(self) -> bool:
        """Whether some part is PyTorch, and no file of ONNX or TFLite yet."""
        return any(model.torch for model in self.models.values())

    def original(self, part: str) -> Model | None:
        """The PyTorch side of a part, None where none was given."""
        given = (self.models[part], self.originals.get(part))
        return next((model for model in given if model is not None and model.torch), None)

    def onnx(self, part: str) -> Model | None:
        """The ONNX that a part is or comes from, None where there is none."""
        given = (self.models[part], self.originals.get(part))
        return next((m for m in given if m is not None and m.format == "onnx"), None)
