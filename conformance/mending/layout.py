"""How a tensor of the contract's shape becomes the one that a model takes or gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from reference.tracks import Shape, Tensor, fits


@dataclass(frozen=True)
class Step:
    """One operator: a Transpose by a permutation, a Reshape to sizes (-1 for the one that is open),
    or a Cast to a numpy name.
    """

    op: Literal["Transpose", "Reshape", "Cast"]
    to: Any

    def on(self, array: np.ndarray) -> np.ndarray:
        """What it makes of an array."""
        match self.op:
            case "Transpose":
                return array.transpose(self.to)
            case "Reshape":
                return array.reshape(self.to)
            case "Cast":
                return array.astype(self.to)


@dataclass(frozen=True)
class Layout:
    """A shape that a model may have for a tensor of the contract, its sizes as the contract fixes
    them, and the steps from the contract's to it.
    """

    shape: Shape
    steps: tuple[Step, ...]


def input_layout(tensor: Tensor, found: Shape | None) -> Layout | None:
    """Of an input of the shape `found`, None where no step that keeps every value in its place
    leads there.

    A picture's channels may be last, or ahead of the pixels; axes of one entry may be missing.
    """
    for order in _orders(tensor, len(tensor.shape)):
        moved = tuple(tensor.shape[axis] for axis in order)
        turn = () if order == tuple(range(len(order))) else (Step("Transpose", list(order)),)
        for shape in _without_ones(moved):
            if fits(found, shape):
                drop = () if shape == moved else (Step("Reshape", _sizes(shape)),)
                return Layout(shape, (*turn, *drop))
    return None


def output_steps(found: Shape | None, tensor: Tensor) -> tuple[Step, ...] | None:
    """From an output of the shape `found` to the contract's; None where there are none."""
    wanted = tensor.shape
    if found is None or fits(found, wanted):
        return ()
    if len(found) == len(wanted) > 3:
        for order in _orders(tensor, len(found)):
            if fits(tuple(found[axis] for axis in order), wanted):
                return (Step("Transpose", list(order)),)
    big = [[size for size in shape if size != 1] for shape in (found, wanted)]
    if None not in found and fits(tuple(big[0]), tuple(big[1])):
        return (Step("Reshape", _sizes(wanted)),)
    return None


def _orders(tensor: Tensor, rank: int) -> Iterator[tuple[int, ...]]:
    """The axes as they are, then with the channels where others have them."""
    yield tuple(range(rank))
    if tensor.kind == "text" or rank < 4:
        return
    last_first = (0, rank - 1, *range(1, rank - 1))
    first_last = (0, *range(2, rank), 1)
    if tensor.kind == "picture":
        yield first_last if tensor.channels == 1 else last_first
    else:
        yield last_first


def _without_ones(shape: Shape) -> Iterator[Shape]:
    """The shape, then with ever more of its axes of one entry left out."""
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    for count in range(len(ones) + 1):
        for gone in combinations(ones, count):
            yield tuple(size for axis, size in enumerate(shape) if axis not in gone)


def _sizes(shape: Sequence[int | None]) -> list[int]:
    return [-1 if size is None else size for size in shape]
