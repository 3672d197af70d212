"""Which operators onnxruntime fails on ahead of Qualcomm's compiler, in a graph that is correct.

Measured with onnxruntime 1.31.1: its transpose optimiser, which makes the graph channels-last for
the NPU, gives a wrong rank to some operators, and wrong axes to others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What onnxruntime's optimiser fails on, and what the exporter's user writes instead."""

    reason: str
    remedy: str
    applies: Callable[[str, Mapping[str, Any], Sequence[str]], bool]


def _reduces_to_nothing(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> bool:
    listed = attributes.get("axes")
    if not op.startswith("Reduce") or attributes.get("keepdims", 1):
        return False
    return listed is not None and len(listed) == 0


def _pads_some_axes(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> bool:
    return op == "Pad" and len(inputs) > 3 and bool(inputs[3])


EMPTY_AXES = Fault(
    "onnxruntime's optimiser fails on its empty list of axes",
    "name the axes in the model: y.amin(dim=(1, 2, 3), keepdim=True) and the like, or export with"
    " dynamo=True",
    _reduces_to_nothing,
)
SOME_AXES = Fault(
    "onnxruntime's optimiser takes its axes for others",
    "pad all axes, those that stay by 0, instead of naming some",
    _pads_some_axes,
)
FAULTS = (EMPTY_AXES, SOME_AXES)


def find_fault(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> Fault | None:
    """What onnxruntime's optimiser fails on in one operator of the standard domain, if anything.

    `attributes` are its plain attributes by name; it fails where the operator comes behind one that
    depends on the layout, such as a convolution.
    """
    return next((fault for fault in FAULTS if fault.applies(op, attributes, inputs)), None)
