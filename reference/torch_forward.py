"""What the forward of somebody's PyTorch module takes, and in which order."""

# TorchScript reads the source of what it compiles, and a comment beside it as a type.
# mypy: disable-error-code="no-untyped-def"

import inspect
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reference.errors import SubmissionError

_ACCELERATOR = re.compile(rb'torch\.device\("((?:cuda|mps|xpu)[^"]*)"\)')


def in_order(module: Any, names: Sequence[str]) -> list[str]:
    """`names`, the inputs of the contract, as `forward` takes them: by its own argument names where
    these are the contract's, else in the contract's order.

    Raises SubmissionError where it takes fewer, or needs something more.
    """
    own = _arguments(module)
    if own is None:
        return list(names)
    first = [name for name, _ in own[: len(names)]]
    needed = [name for name, required in own[len(names) :] if required]
    if needed or len(first) < len(names):
        takes = ", ".join(name for name, required in own if required or name in first)
        raise SubmissionError(
            f"forward({takes}) is not what the track feeds: {', '.join(names)}",
            "give what else it takes a default, or fix it inside the model"
            if needed
            else "take all of these in forward",
        )
    return first if set(first) == set(names) else list(names)


def _arguments(module: Any) -> list[tuple[str, bool]] | None:
    """The arguments by name, and whether each is required; None where that is left open."""
    schema = getattr(module.forward, "schema", None)
    if schema is not None:
        return [(each.name, not each.has_default_value()) for each in schema.arguments[1:]]
    found = inspect.signature(module.forward).parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in found):
        return None
    return [
        (each.name, each.default is each.empty)
        for each in found
        if each.kind is not each.VAR_KEYWORD
    ]


class _One(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, a: torch.Tensor):
        return self.model(a)


class _Two(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, a: torch.Tensor, b: torch.Tensor):
        return self.model(a, b)


def of_inputs_alone(module: Any, count: int) -> Any:
    """The module with its first `count` arguments, one or two, and none that has a default.

    The exporter of TorchScript takes a default for an input that was not given.
    """
    if not isinstance(module, torch.jit.ScriptModule) or len(_arguments(module) or ()) <= count:
        return module
    return torch.jit.script({1: _One, 2: _Two}[count](module).eval())


def accelerator_of(path: Path, error: BaseException) -> str:
    """The device, such as `cuda:0`, that the code of a TorchScript file makes tensors on, where
    `error` speaks of one; else empty.

    Loading to the CPU moves the weights and not what is written in the code.
    """
    with zipfile.ZipFile(path) as archive:
        code = (name for name in archive.namelist() if name.endswith(".py"))
        found = (_ACCELERATOR.search(archive.read(name)) for name in code)
        device = next((match[1].decode() for match in found if match), "")
    told = str(error.__cause__ or error).lower()
    return device if device.partition(":")[0] in told or "nvidia" in told else ""


def reason(error: Exception) -> str:
    """The message without TorchScript's trace of the archive's code, which comes before it."""
    text = str(error).strip()
    return text.splitlines()[-1] if "TorchScript interpreter" in text else text
