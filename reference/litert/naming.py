"""A PyTorch module whose inputs and outputs have names, which litert-torch keeps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from reference.errors import SubmissionError


class Named(nn.Module):
    """`module` with keyword inputs `inputs`, in the order in which it takes them, and a dictionary
    of `outputs`, `output_0` and so on where there are none.

    What `last_inputs` and `last_outputs` name has its channels last here.
    """

    def __init__(
        self,
        module: Any,
        inputs: Sequence[str],
        outputs: Sequence[str],
        last_inputs: Sequence[str],
        last_outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self._inner = module
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._last_inputs, self._last_outputs = frozenset(last_inputs), frozenset(last_outputs)
        self.training = False
        _known(self._last_inputs, self._inputs, "input")

    def train(self, mode: bool = True) -> "Named":
        """It stays as it is: an exported program inside has no modes, and refuses to be asked."""
        return self

    def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs by name."""
        feeds = [
            given[name].movedim(-1, 1) if name in self._last_inputs else given[name]
            for name in self._inputs
        ]
        found = _tensors(self._inner(*feeds))
        names = self._outputs or tuple(f"output_{index}" for index in range(len(found)))
        if len(names) != len(found):
            raise SubmissionError(
                f"the model has {len(found)} outputs, and {len(names)} names are given"
                f" ({', '.join(names)})",
                "name each of them",
            )
        _known(self._last_outputs, names, "output")
        return {
            name: x.movedim(1, -1) if name in self._last_outputs else x
            for name, x in zip(names, found, strict=True)
        }


def _tensors(answer: Any) -> list[torch.Tensor]:
    """The tensors of what a model answers, in its order."""
    if isinstance(answer, torch.Tensor):
        return [answer]
    parts = answer.values() if isinstance(answer, dict) else answer
    return [tensor for part in parts for tensor in _tensors(part)]


def _known(asked: frozenset[str], names: Sequence[str], what: str) -> None:
    for name in sorted(asked - {*names}):
        raise SubmissionError(
            f"{name!r} is to have its channels last, and the model has no such {what}",
            f"name one of: {', '.join(names)}",
        )
