"""What mends a shape: one expression in forward(), where one is enough."""

import math
from itertools import combinations, permutations
from typing import Literal

from reference.tracks import COLOURS, Shape, format_shape

Side = Literal["input", "output"]

_PICTURE = ("batch", "channel", "height", "width")
_CLIP = ("batch", "channel", "frame", "height", "width")


def shape_hint(found: Shape | None, wanted: Shape, side: Side) -> str:
    """How a model with the shape `found` comes to `wanted`; empty where no single step does it.

    An input is changed ahead of the network, from the contract's shape to the one that the network
    takes; an output behind it, the other way round.
    """
    if found is None or not all(found) or found == wanted:
        return ""
    source, target = (wanted, found) if side == "input" else (found, wanted)
    for step in (_squeeze, _unsqueeze, _permute, _reshape):
        expression, what = step(source, target)
        if expression and side == "input":
            taken = format_shape(wanted)
            return f"take {taken} and begin forward() with x = x{expression} ({what})"
        if expression:
            return f"end forward() with x = x{expression} ({what})"
    return _size_hint(found, wanted, side) if len(found) == len(wanted) else ""


def keras_hint(found: Shape | None, wanted: Shape, side: Side, name: str) -> str:
    """As `shape_hint`, for a model that is made with Keras; `name` is the input's or output's."""
    if found is None or found == wanted:
        return ""
    source, target = (wanted, found) if side == "input" else (found, wanted)
    if source[:1] != target[:1]:  # layers leave the batch alone
        return ""
    order = _order(source, target)
    if order[:1] == (0,):
        step = f"keras.layers.Permute({order[1:]})"
    elif None not in (*found, *wanted) and _count(found) == _count(wanted):
        step = f"keras.layers.Reshape({target[1:]})"
    else:
        return ""
    if side == "input":
        return f"begin with keras.Input({wanted[1:]}, name={name!r}) and {step}"
    return f"end with {step}"


def _squeeze(source: Shape, target: Shape) -> tuple[str, str]:
    axes = _units(source, target)
    return "".join(f".squeeze({axis})" for axis in reversed(axes)), _named(axes, source)


def _unsqueeze(source: Shape, target: Shape) -> tuple[str, str]:
    axes = _units(target, source)
    return "".join(f".unsqueeze({axis})" for axis in axes), _named(axes, target)


def _reshape(source: Shape, target: Shape) -> tuple[str, str]:
    sizes = [size for size in (*source, *target) if size is not None]
    known = len(sizes) == len(source) + len(target)
    if not known or math.prod(sizes[: len(source)]) != math.prod(sizes[len(source) :]):
        return "", ""
    return f".reshape({', '.join(map(str, target))})", "the same number of values"


def _count(shape: Shape) -> int:
    return math.prod(size or 0 for size in shape)


def _units(longer: Shape, shorter: Shape) -> tuple[int, ...]:
    """The axes of size 1 without which one shape is the other, the last ones first."""
    ones = [axis for axis, size in enumerate(longer) if size == 1]
    for axes in reversed(list(combinations(ones, max(0, len(longer) - len(shorter))))):
        left = tuple(size for axis, size in enumerate(longer) if axis not in axes)
        if axes and _same(left, shorter):
            return axes
    return ()


def _permute(source: Shape, target: Shape) -> tuple[str, str]:
    order = _order(source, target)
    text = f".permute({', '.join(map(str, order))})" if order else ""
    return text, "the axes in another order"


def _order(source: Shape, target: Shape) -> tuple[int, ...]:
    """The axes of the one in the order in which they make the other; empty where none does."""
    if len(source) != len(target):
        return ()
    fitting = [
        order
        for order in permutations(range(len(source)))
        if _same(tuple(source[axis] for axis in order), target)
    ]
    return min(fitting, key=_inversions, default=())


def _inversions(order: tuple[int, ...]) -> int:
    return sum(a > b for a, b in combinations(order, 2))


def _same(one: Shape, other: Shape) -> bool:
    """Whether two shapes are equal; None, an embedding's width, is equal to any size."""
    return len(one) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(one, other, strict=True)
    )


def _size_hint(found: Shape, wanted: Shape, side: Side) -> str:
    """What to do about the only axes that differ, of shapes of one rank."""
    differ = [
        axis
        for axis, (a, b) in enumerate(zip(found, wanted, strict=True))
        if b is not None and a != b
    ]
    if differ == [0]:
        return f"export with a batch of {wanted[0]}, not {found[0]}"
    names = _names(wanted)
    if len(differ) == 1 and names[differ[0]] in ("channel", "frame"):
        (axis,) = differ
        verb = "take" if side == "input" else "return"
        return f"{verb} {_counted(wanted[axis], names[axis])}, not {found[axis]}"
    if len(wanted) == 2 and wanted[0] == 1 and side == "output":
        return f"return {wanted[1]} values, not {found[1]}: end with a layer of that width"
    a_map = len(wanted) == 4 or (len(wanted) == 2 and side == "output")
    if a_map and min(differ) >= len(wanted) - 2:
        own, other = (f"{shape[-2]}x{shape[-1]}" for shape in (found, wanted))
        if side == "input":
            return f"take {other} and resize to {own} inside forward()"
        return f"resize from {own} to {other} at the end of forward()"
    return ""


def _counted(count: int | None, name: str) -> str:
    return f"{count} {name}" + ("s" if count != 1 else "")


def _names(shape: Shape) -> tuple[str, ...]:
    """What the axes are of a picture or a clip, channels last where those are three; else empty."""
    if len(shape) == len(_PICTURE):
        return _PICTURE
    if len(shape) != len(_CLIP):
        return ("",) * len(shape)
    return ("batch", *_CLIP[2:], "channel") if shape[-1] == COLOURS else _CLIP


def _named(axes: tuple[int, ...], shape: Shape) -> str:
    """`the channel axis`; of a shape that is no picture's, `axis 1`."""
    own = _names(shape)
    if not any(own):
        return " and ".join(f"axis {axis}" for axis in axes)
    names = " and ".join(own[axis] for axis in axes)
    return f"the {names} axis" if len(axes) == 1 else f"the {names} axes"
