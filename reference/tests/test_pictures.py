"""What the tracks draw: colours mean one thing, and what is no number is drawn as nothing else."""

import numpy as np
import pytest

from reference.datasets.items import Item
from reference.depth import pictures as depth
from reference.depth.dataset import Truth
from reference.pictures import MASK, NOT_A_NUMBER, coloured, cropped, css, photograph, resized, told
from reference.pidnet import pictures as pidnet
from reference.pidnet.cityscapes import CITYSCAPES
from reference.retrieval import pictures as retrieval
from reference.scores import Result
from reference.segmentation import pictures as segmentation

RAMP = np.linspace(0, 1, 480 * 640, dtype=np.float32).reshape(1, 1, 480, 640)
PHOTO = np.full((480, 640, 3), 200, np.uint8)
ODD = np.zeros((480, 640), bool)
ODD[:120] = True
SAID = (css(NOT_A_NUMBER), "not a number, 25%")


def shown(pixels):
    return (pixels == NOT_A_NUMBER).all(axis=-1)


def logits(best):
    return (np.arange(19).reshape(-1, 1, 1) == best).astype(np.float32)[None]


def holed(answer):
    """The answer with NaN in its first quarter."""
    answer = answer.copy()
    answer[..., : answer.shape[-2] // 4, :] = np.nan
    return answer


ANSWERS = {
    "depth": (depth, RAMP),
    "classes": (pidnet, logits(np.full((480, 640), 10))),
    "mask": (segmentation, (RAMP > 0.6).astype(np.float32)[0, 0]),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_no_number_is_drawn_as_nothing_else(kind):
    room, answer = ANSWERS[kind]
    drawing = room.answer(PHOTO, holed(answer))
    assert np.array_equal(shown(drawing.panels[0]), ODD)
    assert SAID in drawing.legend
    assert drawing.alt.endswith("not a number, 25%")
    whole = room.answer(PHOTO, answer)
    assert not shown(whole.panels[0]).any()
    assert SAID not in whole.legend


@pytest.mark.parametrize("kind", ANSWERS)
def test_nor_is_it_in_a_difference(kind):
    """In one answer alone it is no value that has moved."""
    room, answer = ANSWERS[kind]
    for pair in ((answer, holed(answer)), (holed(answer), answer)):
        drawing = room.difference(*pair)
        assert np.array_equal(shown(drawing.panels[2]), ODD)
        assert SAID in drawing.legend
        assert drawing.words.endswith("not a number, 25%")
        assert "0.000%" in drawing.words or "difference 0;" in drawing.words
    assert room.difference(answer, answer).words.startswith(("0.000%", "largest difference 0"))


def test_one_class_without_a_number_is_enough():
    """argmax takes NaN for the largest, and so for a class."""
    answer = logits(np.full((4, 4), 10))
    answer[0, 3, 0, 0] = np.nan
    assert shown(pidnet.answer(PHOTO, answer).panels[0]).sum() == 1


def test_classes_without_a_largest_logit_are_none():
    """argmax calls the first class the largest of infinities, which is road."""
    answer = logits(np.full((4, 4), 10))
    answer[0, :, 0], answer[0, 5, 1], answer[0, 5, 2] = -np.inf, np.inf, -np.inf
    drawing = pidnet.answer(PHOTO, answer)
    assert shown(drawing.panels[0]).sum(axis=1).tolist() == [4, 4, 0, 0]
    assert [name for _, name in drawing.legend] == ["sky 50%", "not finite, 50%"]


def test_infinity_is_called_what_it_is():
    answer = np.where(RAMP > 0.9, np.inf, RAMP)
    drawing = depth.answer(PHOTO, answer)
    assert [name for _, name in drawing.legend] == ["not finite, 10%"]
    assert drawing.scale.high == "0.9"


def test_nothing_else_has_that_colour():
    ramp = np.linspace(0, 1, 256)[None]
    maps = [coloured(ramp, 0, 1, name)[0] for name in ("viridis", "inferno", "bone")]
    greys = np.arange(256)[:, None].repeat(3, axis=1)
    red = 0.4 * greys + 0.6 * np.array(MASK)
    others = np.concatenate([*maps, greys, red, [colour for _, colour in CITYSCAPES]])
    apart = np.abs(others - np.array(NOT_A_NUMBER)).max(axis=1)
    assert apart.min() > 80


def test_truth_of_depth_is_black_without_confidence():
    millimetres = np.tile(np.linspace(1000, 4000, 256).astype(np.uint16), (192, 1))
    confidence = np.full((192, 256), 2, np.uint8)
    confidence[:, 128:] = 0
    drawing = depth.truth(PHOTO, Truth(millimetres, confidence))
    (panel,) = drawing.panels
    assert (panel[:, 128:] == 0).all()
    assert (panel[:, 0] == (68, 1, 84)).all()
    assert (panel[:, 127] == (253, 231, 37)).all()
    assert (drawing.scale.low, drawing.scale.high) == ("1000", "2494")
    assert drawing.legend == (("#000000", "confidence 0, 50%"),)


def test_truth_of_classes_is_black_where_it_does_not_count():
    classes = np.full((64, 128), 13, np.uint8)
    classes[:16] = 255
    drawing = pidnet.truth(PHOTO, classes)
    assert (drawing.panels[0][:16] == 0).all()
    assert (drawing.panels[0][16:] == (0, 0, 142)).all()
    assert drawing.legend == (("#00008e", "car 75%"), ("#000000", "ignored, 25%"))


def test_truth_of_a_mask_looks_as_an_answer_does():
    mask = np.zeros((480, 640), np.uint8)
    mask[:, :64] = 1
    own, answer = segmentation.truth(PHOTO, mask), segmentation.answer(PHOTO, mask * 1.0)
    assert own.alt == answer.alt == "the mask in red: 10.0% of the picture"
    assert np.array_equal(own.panels[0], answer.panels[0])
    assert (own.panels[0][:, :64, 0] > own.panels[0][:, :64, 2] + 40).all()


def test_the_nearest_texts_by_cosine():
    gallery = np.eye(12)[[0, 1, 2]] * np.array([[5], [1], [0.1]])
    drawing = retrieval.nearest(PHOTO, np.array([[0.6, 0.0, 0.8] + [0] * 9]), "abc", gallery, 3)
    assert [(r.place, r.text, r.value) for r in drawing.ranking] == [
        ("1", "c", 0.8),
        ("2", "a", 0.6),
        ("3", "b", 0.0),
    ]
    assert drawing.alt == "1: c, 0.800; 2: a, 0.600; 3: b, 0.000"
    assert len(retrieval.nearest(PHOTO, np.ones(4), "xyz", np.ones((3, 4)), 2).ranking) == 2


def test_a_ranking_tells_right_wrong_and_missed_apart():
    texts = [Item(str(n), "text", str(n), text=f"text {n}") for n in range(4)]
    items = {"image": [Item("a", "image", "a", truth=("1", "3"))], "text": texts}
    drawing = retrieval.ranked(PHOTO, items, Result("a", {"recall": 0.5}, np.array([2, 1])))
    assert [(r.place, r.text) for r in drawing.ranking] == [
        ("1", "text 2"),
        ("2", "text 1"),
        ("-", "text 3"),
    ]
    names = dict(drawing.legend)
    assert [names[css(r.colour)] for r in drawing.ranking] == [
        "does not",
        "belongs to the picture",
        "belongs to it and is not found",
    ]


def test_padding_is_left_out_of_what_has_the_canvas():
    fed = np.zeros((1, 3, 8, 8), np.float32)
    fed[:, 1, :4, :6] = 0.5
    assert photograph(fed, 1.0, (4, 6)).shape == (4, 6, 3)
    assert (photograph(fed, 1.0, (4, 6)) == (0, 127, 0)).all()
    assert cropped(np.ones((8, 8)), (8, 8), (4, 6)).shape == (4, 6)
    for other in (np.ones((2, 2)), np.ones((1, 16))):
        assert cropped(other, (8, 8), (4, 6)) is other
    assert cropped(np.ones((8, 8)), (8, 8), None).shape == (8, 8)


def test_enlarged_pixels_stay_what_they_are():
    small = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert {colour for _, colour in resized(small, (10, 5)).getcolors()} == {
        (0, 0, 0),
        (255, 255, 255),
    }


@pytest.mark.parametrize(
    ("count", "words"), [(0, ()), (1, ("x, 0.01%",)), (2500, ("x, 25%",)), (10000, ("x, 100%",))]
)
def test_a_share_is_told_however_small(count, words):
    where = np.arange(10000).reshape(100, 100) < count
    assert tuple(name for _, name in told(where, "x")) == words


def test_a_clip_is_four_of_its_frames():
    """Row by row, wherever the channels are."""
    levels = np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1, 1) / 15
    clip = np.broadcast_to(levels, (1, 16, 2, 2, 3))
    drawn = photograph(clip, 1.0, None, 4)
    assert drawn.shape == (4, 4, 3)
    assert drawn[::2, ::2, 0].tolist() == [[0, 85], [170, 255]]
    assert (photograph(clip.transpose(0, 4, 1, 2, 3), 1.0, None, 1) == drawn).all()
