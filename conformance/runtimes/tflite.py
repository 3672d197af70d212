"""TFLite on the host's CPU, in LiteRT's interpreter; quantised inputs and outputs in float32."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reference.child import Run
from reference.litert.network import Network, Value, usable_network
from reference.litert.run import load as load_file

Arrays = Mapping[str, np.ndarray]


def load(path: Path, threads: int = 0) -> tuple[str, Run]:
    """The runtime's name, and the forward pass of the TFLite file at `path`.

    `threads` are those of a pass, 0 for one a core. Raises SubmissionError for a file that cannot
    be run.
    """
    network = usable_network(path)
    runtime, run = load_file(path, threads)

    def passed(feeds: dict[str, np.ndarray]) -> list[Any]:
        answer = run(to_file(network, feeds))
        names = (value.name for value in network.outputs)
        return list(from_file(network, dict(zip(names, answer, strict=True))).values())

    return runtime, passed


def to_file(network: Network, feeds: Arrays) -> dict[str, np.ndarray]:
    """The inputs as the file takes them: rounded to the scale of one that is quantised."""
    scaled = {value.name: value for value in network.inputs if value.scale is not None}
    return {
        name: _quantised(array, scaled[name]) if name in scaled else array
        for name, array in feeds.items()
    }


def from_file(network: Network, outputs: Arrays) -> dict[str, np.ndarray]:
    """The outputs in float32 where the file gives integers of a scale."""
    scaled = {value.name: value for value in network.outputs if value.scale is not None}
    return {
        name: _dequantised(array, scaled[name]) if name in scaled else array
        for name, array in outputs.items()
    }


def _quantised(array: np.ndarray, value: Value) -> np.ndarray:
    kind = np.iinfo(value.dtype)
    steps = np.round(array / np.float64(value.scale or 1)) + (value.zero_point or 0)
    found: np.ndarray = np.clip(steps, kind.min, kind.max).astype(value.dtype)
    return found


def _dequantised(array: np.ndarray, value: Value) -> np.ndarray:
    steps = array.astype(np.float32) - (value.zero_point or 0)
    return (steps * np.float32(value.scale or 1)).astype(np.float32)
