"""What mends a shape does mend it, and nothing is said where no single step does."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.rules.shape_hints import Side, keras_hint, shape_hint
from reference.tracks import Shape

REPEATABLE = settings(derandomize=True, deadline=None, database=None)
CLIP = (1, 16, 112, 112, 3)
SHAPES = [
    *((1, 3, 480, 640), (1, 3, 224, 224), (2, 1, 77), (1, 77), (1024, 1024), (1, 19, 128, 256)),
    CLIP,
]
SIDES: list[Side] = ["input", "output"]

HINTS = [
    ((3, 480, 640), (1, 3, 480, 640), "input", "x.squeeze(0) (the batch axis)"),
    ((1, 480, 640, 3), (1, 3, 480, 640), "input", "x.permute(0, 2, 3, 1)"),
    ((1, 224, 224, 3), (1, 3, 224, 224), "input", "x.permute(0, 2, 3, 1)"),
    ((1, 3, 640, 480), (1, 3, 480, 640), "input", "x.permute(0, 1, 3, 2)"),
    ((1, 3, 518, 518), (1, 3, 480, 640), "input", "take 480x640 and resize to 518x518 inside"),
    ((1, 1, 480, 640), (1, 3, 480, 640), "input", "take 3 channels, not 1"),
    ((4, 3, 480, 640), (1, 3, 480, 640), "input", "export with a batch of 1, not 4"),
    ((1, 3, 16, 112, 112), CLIP, "input", "x.permute(0, 4, 1, 2, 3)"),
    ((16, 112, 112, 3), CLIP, "input", "x.squeeze(0) (the batch axis)"),
    ((1, 8, 112, 112, 3), CLIP, "input", "take 16 frames, not 8"),
    ((1, 3, 8, 112, 112), (1, 3, 16, 112, 112), "input", "take 16 frames, not 8"),
    ((1, 16, 112, 112, 1), CLIP, "input", "take 3 channels, not 1"),
    ((1, 3, 8, 112, 112), CLIP, "input", ""),
    ((2, 77), (2, 1, 77), "input", "x.squeeze(1) (axis 1)"),
    ((77,), (1, 77), "input", "x.squeeze(0) (axis 0)"),
    ((1, 64), (1, 77), "input", ""),
    ((1, 77), (2, 1, 77), "input", ""),
    ((1, 1024, 1024), (1024, 1024), "output", "x.squeeze(0)"),
    ((1, 1, 1024, 1024), (1024, 1024), "output", "x.squeeze(1).squeeze(0)"),
    ((1, 480, 640), (1, 1, 480, 640), "output", "x.unsqueeze(1) (the channel axis)"),
    ((480, 640), (1, 1, 480, 640), "output", "x.unsqueeze(0).unsqueeze(1) (the batch and channel"),
    ((1, 480, 640, 1), (1, 1, 480, 640), "output", "x.permute(0, 3, 1, 2)"),
    ((1, 128, 256, 19), (1, 19, 128, 256), "output", "x.permute(0, 3, 1, 2)"),
    ((1, 1, 518, 518), (1, 1, 480, 640), "output", "resize from 518x518 to 480x640"),
    ((1024 * 1024,), (1024, 1024), "output", "x.reshape(1024, 1024)"),
    ((16,), (1, None), "output", "x.unsqueeze(0)"),
    ((1, 1, 16), (1, None), "output", "x.squeeze(1)"),
    ((1, 77, 16), (1, None), "output", ""),
    ((2, 1, 1024, 1024), (1024, 1024), "output", ""),
    ((0, 1024, 1024), (1024, 1024), "output", ""),
    ((None, 1024, 1024), (1024, 1024), "output", ""),
    ((), (1, 3, 480, 640), "input", ""),
    (None, (1, 3, 480, 640), "input", ""),
    ((1, 3, 480, 640), (1, 3, 480, 640), "input", ""),
]


@pytest.mark.parametrize(("found", "wanted", "side", "hint"), HINTS)
def test_what_helps(found: Shape | None, wanted: Shape, side: Side, hint: str) -> None:
    told = shape_hint(found, wanted, side)
    assert hint in told
    assert bool(told) == bool(hint)


@pytest.mark.parametrize(
    ("found", "wanted", "side", "hint"),
    [
        (
            (1, 480, 640, 3),
            (1, 3, 480, 640),
            "input",
            "begin with keras.Input((3, 480, 640), name='x') and keras.layers.Permute((2, 3, 1))",
        ),
        ((1, 480, 640, 1), (1, 1, 480, 640), "output", "end with keras.layers.Permute((3, 1, 2))"),
        ((1, 480, 640), (1, 1, 480, 640), "output", "end with keras.layers.Reshape((1, 480, 640))"),
        ((1, 240, 320, 3), (1, 3, 480, 640), "input", ""),
        ((1, 1024, 1024), (1024, 1024), "output", ""),
        ((1, 4, 4), (1, None), "output", ""),
        (None, (1, 3, 480, 640), "input", ""),
        ((1, 3, 480, 640), (1, 3, 480, 640), "input", ""),
    ],
)
def test_what_helps_in_keras(found: Shape | None, wanted: Shape, side: Side, hint: str) -> None:
    assert keras_hint(found, wanted, side, "x") == hint


@REPEATABLE
@given(st.data())
def test_the_expression_leads_from_one_shape_to_the_other(data: st.DataObject) -> None:
    """Of a permutation and of unit axes more or fewer; PyTorch is asked."""
    wanted = data.draw(st.sampled_from(SHAPES))
    side = data.draw(st.sampled_from(SIDES))
    found = list(data.draw(st.permutations(wanted)))
    if data.draw(st.booleans()):
        found = [size for size in wanted if size != 1]
    elif data.draw(st.booleans()):
        found = [*wanted]
        found.insert(data.draw(st.integers(0, len(wanted))), 1)
    told = shape_hint(tuple(found), wanted, side)
    source, target = (wanted, tuple(found)) if side == "input" else (tuple(found), wanted)
    expression = re.search(r"x = (x\.[^ ]+(?:, \d+)*\)(?:\.\w+\(\d+\))*)", told)
    if tuple(found) == wanted:
        assert told == ""
    else:
        assert expression is not None, told
        x = torch.empty(source, device="meta")
        assert tuple(eval(expression[1], {"x": x}).shape) == target
