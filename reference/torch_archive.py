"""Opens PyTorch's archives: TorchScript and exported programs."""

import os
from pathlib import Path
from types import MethodType
from typing import Any

import torch


def open_archive(path: Path, form: str) -> Any:
    """The module in a TorchScript file or, with the form "exported", in an exported program.

    It holds foreign code: for a child process alone.
    """
    if form == "torchscript":
        return torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    # torch.export falls back to unpickling without this.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    # Of a file by its name it asks for the ending .pt2.
    with path.open("rb") as file:
        module: Any = torch.export.load(file).module()
    # An exported program has no modes, but the exporter asks for one.
    module.train = MethodType(lambda self, mode=True: self, module)
    module.eval = MethodType(lambda self: self, module)
    return module
