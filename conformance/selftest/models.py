"""Small hand-built ONNX models, one a track, that keep every rule: the ground the mutants stand on.

They are honest little models (a colour threshold moved by the text, pooled colours as embedding,
brightness above a ramp as depth), with weights seeded by name.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.contract.probes import PHOTOS
from reference.data import fixture
from reference.registry import all_tracks, default_tracks, find_track
from reference.tracks import Part, Tensor, Track

# All but those that take a package, which is in packages.py.
MODEL_TRACKS = [track for track in all_tracks().values() if track.parts]
DEFAULT_TRACKS = [track for track in default_tracks().values() if track.parts]
OPSET, IR = 17, 8
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
VOCABULARY, WIDTH = 49408, 16
END_OF_TEXT = 49407
ELEMENT = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
# So that the kernels have as many weights as PIDNet-S.
PIDNET_HIDDEN = (2891, 2609)


def weights(name: str, *shape: int) -> np.ndarray:
    """Float32 values in a normal distribution, the same on any machine for the same name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Builder:
    """Writes one graph: `node` adds an operator, `constant` a weight; both give the name."""

    def __init__(self, part: Part, width: int = WIDTH) -> None:
        self._part = part
        self._width = width
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []

    def constant(self, name: str, value: object, dtype: str = "float32") -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, out: str = "", **attributes: object) -> str:
        out = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def model(self, output: str) -> ModelProto:
        self.nodes[-1].output[0] = output
        graph = helper.make_graph(
            self.nodes,
            f"{self._part.name}_graph",
            [self._info(tensor, str(tensor.name)) for tensor in self._part.inputs],
            [self._info(self._part.output, output)],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)

    def _info(self, tensor: Tensor, name: str) -> onnx.ValueInfoProto:
        shape = [self._width if size is None else size for size in tensor.shape]
        return helper.make_tensor_value_info(name, ELEMENT[tensor.dtypes[0]], shape)


def segmentation(part: Part) -> ModelProto:
    """Pixels brighter than a threshold that the text moves, outside the padding empty."""
    b = Builder(part)
    grey = _grey(b, "image_input", 255.0)
    text = _text(b, "text_input", pair=True)
    b.constant("text_head", weights("text_head", WIDTH, 1) / WIDTH**0.5)
    threshold = b.node("MatMul", text, "text_head")
    logits = b.node("Sub", grey, threshold, out="logits")
    b.constant("zero", 0.0)
    above = b.node("GreaterOrEqual", logits, "zero")
    bright = b.node("Cast", above, out="bright", to=TensorProto.FLOAT)
    total = b.node("ReduceMax", "image_input", axes=[1], keepdims=1)
    lit = b.node("Greater", total, "zero")
    content = b.node("Cast", lit, out="content", to=TensorProto.FLOAT)
    b.constant("leading", [0, 1], "int64")
    b.node("Squeeze", b.node("Mul", bright, content), "leading")
    return b.model("pred_mask")


def image_encoder(part: Part) -> ModelProto:
    """Pooled colours, projected."""
    assert part.image is not None, "an image encoder"
    b = Builder(part)
    name, size = str(part.image.name), int(part.image.shape[-1] or 0)
    scaled = _normalised(b, name, 255.0 if size == 1024 else 1.0)
    pooled = b.node("AveragePool", scaled, kernel_shape=[size // 8] * 2, strides=[size // 8] * 2)
    flat = b.node("Flatten", pooled)
    b.constant("projection", weights("projection", 3 * 64, WIDTH))
    b.node("MatMul", flat, "projection")
    return b.model("embedding")


def text_encoder(part: Part) -> ModelProto:
    """The mean token embedding up to the first end-of-text token, weighted by position."""
    b = Builder(part)
    text = _text(b, str(part.inputs[0].name), pair=part.inputs[0].shape[0] == 2)
    b.constant("projection", weights("projection", WIDTH, WIDTH))
    b.node("MatMul", text, "projection")
    return b.model("embedding")


def depth(part: Part) -> ModelProto:
    """Brightness above a ramp from far (top) to near (bottom), min-max normalised."""
    b = Builder(part)
    grey = _grey(b, "image", 255.0)
    ramp = np.linspace(2, -2, 480, dtype=np.float32).reshape(1, 1, 480, 1)
    b.constant("ramp", ramp)
    raw = b.node("Add", b.node("Tanh", grey), "ramp")
    low = b.node("ReduceMin", raw, keepdims=1)
    high = b.node("ReduceMax", raw, keepdims=1)
    b.constant("epsilon", 1e-6)
    span = b.node("Max", b.node("Sub", high, low), "epsilon")
    b.node("Div", b.node("Sub", raw, low), span, out="unit")
    return b.model("depth")


def classification(part: Part) -> ModelProto:
    """Knows four photographs by heart: pooled colours against theirs, one class each."""
    b = Builder(part)
    scaled = _normalised(b, "image", 1.0)
    pooled = b.node("AveragePool", scaled, kernel_shape=[28, 28], strides=[28, 28])
    head = weights("head", 3 * 64, 64) / 3**0.5 / 16
    for name, index in (("astronaut", 24), ("chelsea", 13), ("coffee", 31), ("rocket", 3)):
        colours = _pooled(name)
        head[:, index] = colours / np.linalg.norm(colours)
    b.constant("head", head)
    b.node("MatMul", b.node("Flatten", pooled), "head")
    return b.model("logits")


def _pooled(photo: str) -> np.ndarray:
    """What the classification model sees of one of the suite's photographs, (192,)."""
    track = find_track("classification")
    picture = track.room("inputs").prepare_image(fixture(f"photos/{PHOTOS[photo][0]}"))
    normal = (picture[0] - MEAN[:, None, None]) / STD[:, None, None]
    return normal.reshape(3, 8, 28, 8, 28).mean((2, 4)).reshape(-1)


def pidnet(part: Part) -> ModelProto:
    """Class logits of pooled colours, moved by a wide layer that sees the whole picture."""
    b = Builder(part)
    scaled = _normalised(b, "image", 1.0)
    pooled = b.node("AveragePool", scaled, kernel_shape=[8, 8], strides=[8, 8])
    b.constant("classes", weights("classes", 19, 3, 3, 3) / 3)
    local = b.node("Relu", b.node("Conv", pooled, "classes", pads=[1, 1, 1, 1]))
    mean = b.node("Flatten", b.node("GlobalAveragePool", scaled))
    one, other = PIDNET_HIDDEN
    b.constant("wide", weights("wide", 3, one))
    b.constant("wider", weights("wider", one, other) / one**0.5)
    b.constant("narrow", weights("narrow", other, 19) / other**0.5)
    hidden = b.node("Relu", b.node("MatMul", mean, "wide"))
    hidden = b.node("Relu", b.node("MatMul", hidden, "wider"))
    scene = b.node("MatMul", hidden, "narrow")
    b.constant("column", [1, 19, 1, 1], "int64")
    b.node("Add", local, b.node("Reshape", scene, "column"))
    return b.model("mask")


def action(part: Part) -> ModelProto:
    """Class logits of a projection of blocks of 4 frames and 7x7 pixels."""
    assert part.image is not None, "a model of clips"
    b = Builder(part)
    axis = part.image.channels
    scaled = _normalised(b, "video", 1.0, tuple(3 if a == axis else 1 for a in range(5)))
    if axis == 4:
        scaled = b.node("Transpose", scaled, out="frames", perm=[0, 4, 1, 2, 3])
    b.constant("blocks", weights("blocks", 2, 3, 4, 7, 7) / (3 * 4 * 7 * 7) ** 0.5)
    pooled = b.node("Conv", scaled, "blocks", strides=[4, 7, 7])
    b.constant("classes", weights("classes", 2048, 92) / 2048**0.5)
    b.node("MatMul", b.node("Flatten", pooled), "classes")
    return b.model("class_probs")


MAKERS: dict[tuple[str, str], Callable[[Part], ModelProto]] = {
    ("segmentation-2025", "model"): segmentation,
    ("retrieval-2026", "image"): image_encoder,
    ("retrieval-2026", "text"): text_encoder,
    ("retrieval-2026-draft", "image"): image_encoder,
    ("retrieval-2026-draft", "text"): text_encoder,
    ("depth-2025", "model"): depth,
    ("pidnet", "model"): pidnet,
    ("classification-2025", "model"): classification,
    ("action-2026", "model"): action,
    ("action-2026-ncthw", "model"): action,
}


def conforming(track: str | Track, part: str = "model") -> ModelProto:
    """The conforming model of one part of a track."""
    found = find_track(track) if isinstance(track, str) else track
    return onnx.load_from_string(_built(found, part))


@cache
def _built(track: Track, part: str) -> bytes:
    built: bytes = MAKERS[track.id, part](track.part(part)).SerializeToString()
    return built


def write(track: Track, folder: Path) -> dict[str, Path]:
    """Writes the conforming models of a track; the files by part."""
    paths = {}
    for part in track.parts:
        paths[part.name] = folder / f"{part.name}.onnx"
        onnx.save(conforming(track, part.name), paths[part.name])
    return paths


def _normalised(b: Builder, image: str, high: float, shape: tuple[int, ...] = (1, 3, 1, 1)) -> str:
    mean, std = (np.float32(high) * each.reshape(shape) for each in (MEAN, STD))
    b.constant("mean", mean)
    b.constant("std", std)
    return b.node("Div", b.node("Sub", image, "mean", out="centred"), "std", out="normalised")


def _grey(b: Builder, image: str, high: float) -> str:
    b.constant("luma", np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1))
    return b.node("Conv", _normalised(b, image, high), "luma")


def _text(b: Builder, text: str, pair: bool) -> str:
    """The (1, WIDTH) mean of the tokens up to and including the first end-of-text token."""
    if pair:
        b.constant("first", 0, "int64")
        text = b.node("Gather", text, "first", axis=0)
    b.constant("table", weights("table", VOCABULARY, WIDTH))
    b.constant("position", 1 + 0.1 * weights("position", 77, 1))
    b.constant("end", END_OF_TEXT, "int32")
    b.constant("axis", 1, "int64")
    b.constant("half", 0.5)
    b.constant("last_axis", [2], "int64")
    ended = b.node("Cast", b.node("Equal", text, "end"), to=TensorProto.FLOAT)
    before = b.node("Sub", b.node("CumSum", ended, "axis"), ended)
    read = b.node("Less", before, "half")
    live = b.node("Cast", read, out="live", to=TensorProto.FLOAT)
    vectors = b.node("Mul", b.node("Gather", "table", text, axis=0), "position")
    kept = b.node("Mul", vectors, b.node("Unsqueeze", live, "last_axis"))
    b.constant("tokens", [1], "int64")
    total = b.node("ReduceSum", kept, "tokens", keepdims=0)
    count = b.node("ReduceSum", live, "tokens", keepdims=1)
    return b.node("Div", total, count)
