"""The tracks with small pictures: a forward pass on the emulated NPU takes no time."""

from dataclasses import replace

import numpy as np

from reference.images import open_pillow, to_tensor
from reference.pidnet.contract import PIDNET
from reference.retrieval.contract import RETRIEVAL_2026
from reference.retrieval.inputs import prepare_text as one_row
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Part, Tensor, Track

SIDE = 64


def prepare_image(source) -> np.ndarray:
    return to_tensor(open_pillow(source).resize((SIDE, SIDE)))


def prepare_text(text: str) -> np.ndarray:
    """Token ids and, as nothing reads it, the same again for the attention mask."""
    return np.repeat(one_row(text)[:, None], 2, axis=0)


def _small(track: Track, output: tuple[int, ...]) -> Track:
    (part,) = track.parts
    image = replace(part.inputs[0], shape=(1, 3, SIDE, SIDE))
    shrunk = Part(part.name, (image, *part.inputs[1:]), replace(part.output, shape=output))
    return replace(track, parts=(shrunk,), rooms=(("inputs", __name__),))


SEGMENTATION = _small(SEGMENTATION_2025, (SIDE, SIDE))
CLASSES = _small(PIDNET, (1, 19, SIDE // 8, SIDE // 8))
# Depth of any make: the model under test may compute whatever it likes.
DEPTH = replace(
    PIDNET,
    name="depth",
    parts=(
        Part(
            "model",
            (Tensor("image", (1, 3, SIDE, SIDE), ("float32",), "RGB, 0..255", "picture"),),
            Tensor("depth", (1, 1, SIDE, SIDE), ("float32",), "depth", "depth", (0.0, 1.0)),
        ),
    ),
    home="reference.depth",
    rules="conformance.rules.depth",
    prefix="DEP",
    rooms=(("inputs", __name__),),
)
RETRIEVAL = RETRIEVAL_2026
