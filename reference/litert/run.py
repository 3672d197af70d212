"""LiteRT's interpreter in this process: for a child that holds a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reference.child import Run
from reference.litert.network import read_network
from reference.litert.toolchain import find_litert


def load(path: Path, threads: int = 0) -> tuple[str, Run]:
    """The runtime's name, and the forward pass of the TFLite file at `path`: the outputs in their
    order for the inputs by name, in the file's shapes and dtypes.

    `threads` are those of a pass, 0 for one a core.
    """
    from ai_edge_litert.interpreter import Interpreter

    network = read_network(path)
    interpreter = Interpreter(model_path=str(path), num_threads=threads or os.cpu_count())
    interpreter.allocate_tensors()

    def run(feeds: dict[str, np.ndarray]) -> list[Any]:
        _check(feeds, {value.name: value.index for value in network.inputs})
        for value in network.inputs:
            interpreter.set_tensor(value.index, feeds[value.name])
        interpreter.invoke()
        return [interpreter.get_tensor(value.index) for value in network.outputs]

    return f"{find_litert()} CPU", run


def _check(feeds: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if feeds.keys() != wanted.keys():
        raise ValueError(f"the inputs are {', '.join(wanted)}, not {', '.join(feeds)}")
