"""The official accuracy against the evaluator's arithmetic written out, quirks included; what is
fed; and how far two answers are apart.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reference.agreement import Nothing
from reference.classification.agreement import logit_parity, measure
from reference.classification.contract import CLASSES
from reference.classification.inputs import prepare_image
from reference.classification.metric import METRIC, accuracy, predicted, softmax
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.scores import Result

NAN, INF = np.nan, np.inf
RNG = np.random.default_rng(64)


def row(**values: float) -> np.ndarray:
    """Logits of 0 but for some classes, `c5=1.5`."""
    logits = np.zeros((1, 64), np.float32)
    for name, value in values.items():
        logits[0, int(name[1:])] = value
    return logits


def plain_class(logits: list[float]) -> int:
    """The class in plain Python, without a softmax: the first of the largest."""
    best = 0
    for index, value in enumerate(logits):
        if value > logits[best]:
            best = index
    return best


def plain_softmax(logits: list[float]) -> list[float]:
    total = math.fsum(math.exp(value - max(logits)) for value in logits)
    return [math.exp(value - max(logits)) / total for value in logits]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_accuracy_is_the_plain_count(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    answers = (scale * rng.normal(size=(12, 1, 64))).round(2).astype(np.float32)
    truth = rng.integers(0, 64, 12).tolist()
    truth[:4] = [plain_class(answer[0].tolist()) for answer in answers[:4]]
    right = sum(
        plain_class(answer[0].tolist()) == wanted
        for answer, wanted in zip(answers, truth, strict=True)
    )
    found = accuracy(answers, truth)
    assert (found.correct, found.total) == (right, 12)
    assert found.fraction == right / 12
    for answer in answers:
        shares = softmax(answer)
        assert shares.dtype == np.float32
        np.testing.assert_allclose(shares[0], plain_softmax(answer[0].tolist()), 1e-5, 1e-7)


def test_a_softmax_is_of_all_values_whatever_their_shape() -> None:
    logits = RNG.normal(size=(1, 64)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(logits.ravel()), 0).numpy()
    for shape in ((64,), (1, 64), (1, 1, 64), (8, 8)):
        np.testing.assert_allclose(softmax(logits.reshape(shape)).ravel(), expected, rtol=1e-6)
        assert predicted(logits.reshape(shape)) == logits.argmax()


def test_a_row_with_nan_is_a_bicycle() -> None:
    assert CLASSES[predicted(row(c40=9, c63=NAN))] == "bicycle"


def test_so_is_a_row_with_infinity_whose_largest_it_is() -> None:
    assert predicted(row(c40=INF)) == 0
    assert predicted(np.full((1, 64), -INF, np.float32)) == 0
    assert predicted(row(c40=9, c3=-INF)) == 40, "minus infinity alone is a probability of 0"


def test_of_equal_classes_the_first_is_taken() -> None:
    assert predicted(row(c40=2, c7=2)) == 7


def test_what_float32_cannot_tell_apart_is_equal() -> None:
    """The largest logit does not win: softmax rounds both to one probability."""
    assert predicted(row(c40=1e-9)) == 0
    assert predicted(row(c40=1e-9).astype(np.float64)) == 40
    assert predicted(row(c40=1e-5)) == 40


def test_the_classes_of_a_list_with_blanks_are_floats_and_count_all_the_same() -> None:
    assert accuracy([row(c13=1)], [13.0]).fraction == 1
    assert accuracy([row(c13=1)], [13.5]).fraction == 0
    assert accuracy([row()], [NAN]).fraction == 0


def test_rows_without_answers_count_as_wrong() -> None:
    found = accuracy([row(c1=1), row(c2=1)], [1, 2, 3, 4])
    assert (found.fraction, found.classes) == (0.5, (1, 2))


def test_more_answers_than_rows_end_the_run() -> None:
    with pytest.raises(SubmissionError, match=r"2 answers and 1 rows .* dies at answer 1"):
        accuracy([row(), row()], [0])
    with pytest.raises(SubmissionError, match="nothing was scored"):
        accuracy([], [])


def test_answers_pair_by_order() -> None:
    assert accuracy([row(c1=1), row(c2=1), row(c3=1)], [2, 3, 1]).correct == 0


def test_an_item_is_right_or_wrong_and_a_set_says_what_is_answered_most() -> None:
    answers = {"a": row(c13=5), "b": row(c13=3), "c": row(c0=NAN)}
    results = []
    for name, answer in answers.items():
        scored = METRIC.measure.score(answer, 13.0)
        results.append(Result(name, scored.numbers, scored.array, note=scored.note))
    assert [result.numbers["correct"] for result in results] == [1, 1, 0]
    assert [result.note for result in results] == ["", "", "1 of 64 values are not finite"]
    assert METRIC.joint is not None
    joined = METRIC.joint.score(
        {"model": [Item(n, "model", n) for n in answers]}, {"model": results}
    )
    assert list(joined.results) == results
    assert joined.remarks == (
        ("classes", "cat is answered 2 of 3 times, the most; 2 of 64 classes are"),
    )
    failed = [Result("d", error="no picture")]
    assert METRIC.joint.score({}, {"model": failed}).remarks == ()


@pytest.mark.parametrize("size", [(224, 224), (640, 427), (31, 500)])
def test_pictures_are_fed_as_upload_dataset_feeds_them(size: tuple[int, int]) -> None:
    """Its four lines; no crop, no mean, no standard deviation."""
    picture = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 4), np.uint8), "RGBA")
    array = np.array(picture.convert("RGB").resize((224, 224)), dtype=np.float32) / 255.0
    expected = np.transpose(array, (2, 0, 1))[np.newaxis, :]
    found = prepare_image(picture)
    assert (found.dtype, found.shape) == (np.float32, (1, 3, 224, 224))
    np.testing.assert_array_equal(found, expected)
    assert 0 <= found.min() < found.max() <= 1


def test_the_classes_are_those_of_the_referee() -> None:
    assert len(set(CLASSES)) == 64
    known = {0: "bicycle", 13: "cat", 21: "backpack", 31: "cup", 48: "TV", 63: "hair drier"}
    assert {index: CLASSES[index] for index in known} == known


def test_two_answers_are_compared_by_class_top_five_and_noise() -> None:
    one = row(c1=10, c2=8, c3=6, c4=4, c5=2)
    assert vars(measure(one, one, Nothing())) == {
        "same_class": 1,
        "behind": 0,
        "top5": 1,
        "psnr": INF,
    }
    other = row(c1=7, c2=8, c3=6, c4=4, c9=2)
    found = logit_parity(one, other)
    assert (found.same_class, found.top5) == (0, 0.8)
    assert found.behind == pytest.approx(0.2), "class 2 is 2 of a range of 10 behind"
    assert found.psnr == pytest.approx(20 * np.log10(10) - 10 * np.log10((9 + 4 + 4) / 64))
    both = logit_parity(np.concatenate((one, one)), np.concatenate((one, other)))
    assert (both.same_class, both.behind, both.top5) == pytest.approx((0.5, 0.2, 0.9))


def test_an_answer_that_is_no_number_agrees_with_none_but_its_like() -> None:
    odd = row(c5=NAN, c6=3)
    assert vars(logit_parity(odd, odd))["same_class"] == 1
    found = logit_parity(odd, row(c6=3))
    assert (found.same_class, found.behind, found.top5) == (0, 1, 0)
    with pytest.raises(ValueError, match="1x63 is not 1x64"):
        logit_parity(odd, odd[:, :63])
