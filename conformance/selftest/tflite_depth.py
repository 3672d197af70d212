"""The depth model of models.py as TFLite, written by LiteRT's schema; its arguments break rules."""

import numpy as np

from conformance.selftest.models import MEAN, STD
from reference.tests.tflite_models import File

Shape = tuple[int, ...]

MAP = (1, 1, 480, 640)
ONE = (1, 1, 1, 1)
LUMA = np.array([0.299, 0.587, 0.114])


def depth_tflite(
    *,
    name: str = "image",
    output: str = "depth",
    shape: Shape = (1, 3, 480, 640),
    constant: bool = False,
    epsilon: float = 1e-6,
    scale: float = 1.0,
    random: bool = False,
    int8: bool = False,
    again: bool = False,
) -> bytes:
    """The bytes of the file.

    With `int8` input and output are quantised, and dequantised inside; `again` returns a second
    tensor.
    """
    g = _Graph()
    source = image = g.input(shape, int8=int8)
    if int8:
        image = g.op("DEQUANTIZE", [source], shape)
    unit = g.grey(image, shape)
    unit = g.op("TANH", [unit], MAP)
    if constant:
        unit = g.op("MUL", [unit, g.constant(0)], MAP, "MulOptions")
    if random:
        noise = g.op("RANDOM_UNIFORM", [g.constant(MAP, np.int32)], MAP, "RandomOptions")
        unit = g.op("ADD", [unit, noise], MAP, "AddOptions")
    ramp = np.linspace(0 if constant else 2, 0 if constant else -2, 480).reshape(1, 1, 480, 1)
    raw = g.op("ADD", [unit, g.constant(ramp)], MAP, "AddOptions")
    low, high = (g.reduced(kind, raw, (0, 1, 2, 3), ONE) for kind in ("REDUCE_MIN", "REDUCE_MAX"))
    span = g.op("SUB", [high, low], ONE, "SubOptions")
    span = g.op("MAXIMUM", [span, g.constant(epsilon)], ONE, "MaximumMinimumOptions")
    above = g.op("SUB", [raw, low], MAP, "SubOptions")
    unit = g.op("DIV", [above, span], MAP, "DivOptions")
    if scale != 1:
        unit = g.op("MUL", [unit, g.constant(scale)], MAP, "MulOptions")
    if int8:
        unit = g.quantised(unit)
    outputs = {output: unit, **({"more": raw} if again else {})}
    return g.file.content({name: source}, outputs, ["serving_default"])


class _Graph:
    """A file in the making; each step gives the number of a tensor."""

    def __init__(self) -> None:
        self.file = File()

    def input(self, shape: Shape, *, int8: bool) -> int:
        if not int8:
            return self.file.tensor(shape)
        return self.file.tensor(shape, dtype="INT8", scale=[1.0], zero=[-128])

    def constant(self, value: object, dtype: type = np.float32) -> int:
        array = np.array(value, dtype)
        return self.file.tensor(array.shape, array, dtype=array.dtype.name.upper())

    def op(
        self, kind: str, inputs: list[int], shape: Shape, options: str = "", **own: object
    ) -> int:
        made = self.file.tensor(shape)
        self.file.operator(kind, inputs, [made], options, **own)
        return made

    def reduced(self, kind: str, source: int, axes: tuple[int, ...], shape: Shape) -> int:
        along = self.constant(axes, np.int32)
        return self.op(kind, [source, along], shape, "ReducerOptions", keepDims=True)

    def grey(self, image: int, shape: Shape) -> int:
        """Normalised, then the weighted sum of the channels, which may come last."""
        axis = 1 if shape[1] == 3 else 3
        along = [3 if place == axis else 1 for place in range(4)]
        mean, factor = (255 * MEAN).reshape(along), (LUMA / (255 * STD)).reshape(along)
        centred = self.op("SUB", [image, self.constant(mean)], shape, "SubOptions")
        weighted = self.op("MUL", [centred, self.constant(factor)], shape, "MulOptions")
        ends = tuple(1 if place == axis else size for place, size in enumerate(shape))
        grey = self.reduced("SUM", weighted, (axis,), ends)
        return (
            grey if ends == MAP else self.op("RESHAPE", [grey, self.constant(MAP, np.int32)], MAP)
        )

    def quantised(self, source: int) -> int:
        made = self.file.tensor(MAP, dtype="INT8", scale=[1 / 255], zero=[-128])
        self.file.operator("QUANTIZE", [source], [made], "QuantizeOptions")
        return made
