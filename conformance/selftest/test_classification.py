"""The track of image classification: its rules on made-up answers, its data sets and every way in
which they have been wrong, its score from end to end, and what it draws.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from conformance.cli import main
from conformance.contract.pictures import answer, difference
from conformance.device.jobs import submit_compile
from conformance.rules.classification import ORDERS
from conformance.rules.contract import RESHAPE
from conformance.rules.shape_hints import shape_hint
from conformance.scoring.datasets import open_dataset
from conformance.selftest.facts import answered, judge_answers
from conformance.selftest.models import write
from conformance.selftest.samples import copied, moved, remove, replace, truncate
from conformance.submission.model import Model
from conformance.verbs.data import check_dataset
from reference.classification.contract import CLASSES, CLASSIFICATION_2025
from reference.classification.pictures import ranked
from reference.data import fixture
from reference.errors import SubmissionError
from reference.pictures import css
from reference.scores import Result

SAMPLE = fixture("samples/classification")
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
CAT, CUP = CLASSES.index("cat"), CLASSES.index("cup")


def logits(*classes: int, gain: float = 8.0, noise: float = 1.0) -> dict[str, np.ndarray]:
    """Answers to the four photographs, each of one class."""
    rng = np.random.default_rng(2025)
    answers = {}
    for name, index in zip(PHOTOS, classes, strict=True):
        row = noise * rng.uniform(-1, 0, (1, 64)).astype(np.float32)
        row[0, index] += gain
        answers[name] = row
    return answers


def told(rule: str, answers: dict[str, np.ndarray]) -> tuple[str, str, str]:
    verdict = judge_answers(rule, CLASSIFICATION_2025, answers)
    return verdict.outcome, verdict.seen, verdict.remedy


SQUASHED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "softmax": (lambda x: np.exp(x) / np.exp(x).sum(), "probabilities"),
    "percent": (lambda x: 100 * np.exp(x) / np.exp(x).sum(), "probabilities, scaled: one sum"),
    "logarithms": (lambda x: x - np.log(np.exp(x).sum()), "logarithms of probabilities"),
    "class": (lambda x: np.full_like(x, x.argmax()), "class numbers"),
}


@pytest.mark.parametrize("kind", SQUASHED)
def test_what_is_no_logits_is_named(kind: str) -> None:
    squash, seen = SQUASHED[kind]
    answers = {name: squash(x) for name, x in logits(24, CAT, CUP, 3).items()}
    assert told("CLS-7", answers)[:1] == ("fail",)
    assert told("CLS-7", answers)[1].startswith(seen)


def test_logits_of_one_sign_and_nearly_one_answer_are_logits() -> None:
    """Their sums are equal to a thousandth because the answers are, not because they sum to 1."""
    positive = {name: x + 20 for name, x in logits(5, 5, 5, 5, noise=1e-3).items()}
    assert told("CLS-7", positive)[0] == "pass"
    assert told("CLS-7", logits(24, CAT, CUP, 3))[0] == "pass"


@pytest.mark.parametrize(("scale", "outcome"), [(1.0, "pass"), (1e-6, "pass"), (1e-9, "fail")])
def test_softmax_must_keep_the_class(scale: float, outcome: str) -> None:
    answers = {name: scale * x for name, x in logits(24, CAT, CUP, 3).items()}
    found, seen, _ = told("CLS-8", answers)
    assert found == outcome
    if outcome == "fail":
        assert seen.startswith("class 0: 64 classes are equal to rounding")


def test_one_class_for_everything_is_told_with_the_figure_where_the_model_is_sure() -> None:
    assert told("CLS-9", logits(5, 5, 5, 5))[:2] == (
        "fail",
        "'train' for 4 of 4 photographs, at up to 98%",
    )
    assert told("CLS-9", logits(5, 5, 5, 3))[:2] == (
        "pass",
        "'train' for 3 of 4 photographs, the most",
    )
    outcome, seen, _ = told("CLS-9", logits(5, 5, 5, 5, gain=1, noise=0.1))
    assert outcome == "skip"
    assert seen.startswith("undecided: 'train' for 4 of 4 photographs, at 4.2% or less, as weights")


@pytest.mark.parametrize("order", ORDERS)
def test_another_order_of_the_classes_is_recognised(order: str) -> None:
    places = [list(ORDERS[order]).index(name) for name in ("cat", "cup")]
    outcome, seen, remedy = told("CLS-10", logits(24, *places, 3))
    assert outcome == "fail"
    assert seen.startswith(f"the cat is {CLASSES[places[0]]!r} at 9")
    assert order.partition(",")[0] in remedy


def test_an_order_of_no_known_kind_has_the_rule_s_own_remedy() -> None:
    assert told("CLS-10", logits(24, 7, 9, 3))[::2] == ("fail", "")


def test_what_is_unsure_or_one_class_is_not_judged_by_its_order() -> None:
    assert told("CLS-10", logits(24, CAT, CUP, 3))[0] == "pass"
    assert told("CLS-10", logits(24, CAT, 7, 3, gain=3))[0] == "skip", "below half"
    assert told("CLS-10", logits(5, 5, 5, 5))[0] == "skip"
    second = logits(24, CAT, 7, 3)
    second["coffee"][0, CUP] = 2
    assert told("CLS-10", second)[0] == "pass", "among the best five"


def test_photographs_that_are_told_apart_by_rounding_have_one_answer() -> None:
    answers = logits(24, CAT, CUP, 3)
    assert told("IMG-5", answers)[0] == "pass"
    nearly = {name: answers["coffee"] + 1e-3 * answers[name] for name in PHOTOS}
    outcome, seen, _ = told("IMG-5", nearly)
    assert outcome == "fail"
    assert seen.startswith("all 3 pairs of photographs as near as one: same class 100%, class 0 of")
    same = dict.fromkeys(PHOTOS, answers["coffee"])
    assert told("IMG-5", same)[0] == "skip"
    assert told("IMG-1", same)[0] == "fail"


def test_another_number_of_classes_has_a_remedy() -> None:
    hint = shape_hint((1, 1000), (1, 64), "output")
    assert hint == "return 64 values, not 1000: end with a layer of that width"
    assert shape_hint((64,), (1, 64), "output").endswith("x.unsqueeze(0) (axis 0)")
    assert "resize" not in RESHAPE


KEY = "key.csv"
DAMAGE: list[tuple[Callable[[Path], None], str, int]] = [
    (remove("images/cup_indoor_low_light_00.jpg"), "there is no ", 1),
    (truncate("images/cup_indoor_low_light_00.jpg"), "damaged or truncated", 1),
    (replace(KEY, "cup,31", "cup,thirty"), "the class 'thirty', which is no number", 1),
    (replace(KEY, "cup,31", "cup,64"), "the class 64: no answer is ever right", 1),
    (replace(KEY, "cup,31", "cup,-1"), "the class -1: no answer is ever right", 1),
    (replace(KEY, "cup,31", "cup,31.5"), "the class 31.5: no answer is ever right", 1),
    (replace(KEY, "cup,31", "cup,inf"), "no finite number: no answer is ever right", 1),
    (replace(KEY, "cup,31", "cup,13"), "labelled 'cup', and class 13 is 'cat'", 1),
    (replace(KEY, "cup,31", "cup,"), "row 4 has no class: the evaluator drops it, and pairs", 1),
    (replace(KEY, "cup,31", "cup,NaN"), "row 4 has no class", 1),
    (replace(KEY, "cup,31", "cup,31.0"), " 0 errors, 0 warnings", 0),
    (replace(KEY, "cat,13", "CAT,13"), " 0 errors, 0 warnings", 0),
    (replace(KEY, "cup_indoor_low", "\ncup_indoor_low"), "row 4 is blank: the evaluator", 0),
    (replace(KEY, "cup_indoor_low", ",,\ncup_indoor_low"), "row 4 is blank: the evaluator", 0),
    (replace(KEY, "cup_indoor_low_light_00.jpg", ""), "row 4 has no file_name", 1),
    (replace(KEY, "cup_indoor_low", "cat_indoor_low"), "is there 2 times", 1),
    (replace(KEY, "cat_indoor_low", "zebra_indoor_low"), "by order: row 2, zebra_indoor_low", 1),
    (
        moved("images/cat_indoor_low_light_00.jpg", "images/cat_indoor_low_light_00.webp"),
        "they read .jpeg, .jpg, .png",
        1,
    ),
    (
        lambda f: shutil.copy(f / "images/cup_indoor_low_light_00.jpg", f / "images/a.jpg"),
        "by order: row 2, cat_indoor_low_light_00.jpg, gets a.jpg",
        0,
    ),
    (
        lambda f: shutil.copy(f / "images/cup_indoor_low_light_00.jpg", f / "images/z.jpg"),
        "by order: z.jpg has no row, and the run dies",
        0,
    ),
]


@pytest.mark.parametrize(("damage", "message", "code"), DAMAGE)
def test_what_is_wrong_is_told(
    damage: Callable[[Path], None], message: str, code: int, tmp_path: Path
) -> None:
    folder = copied("classification", tmp_path)
    damage(folder)
    text, found = check_dataset(CLASSIFICATION_2025, folder)
    assert message in text
    assert found == code


def unnamed(folder: Path, *classes: str) -> None:
    """A list of classes alone, as the evaluator needs it."""
    (folder / KEY).write_text("class_index\n" + "".join(f"{each}\n" for each in classes))


def test_without_names_rows_pair_with_the_sorted_folder(tmp_path: Path) -> None:
    folder = copied("classification", tmp_path)
    unnamed(folder, "13", "13", "31", "31", "33", "33")
    found = open_dataset(CLASSIFICATION_2025, folder)
    named = open_dataset(CLASSIFICATION_2025, SAMPLE)
    assert found.findings == ()
    assert [(i.id, found.truth(i)) for i in found.items] == [
        (i.id, named.truth(i)) for i in named.items
    ]


def test_without_names_counts_must_agree(tmp_path: Path) -> None:
    folder = copied("classification", tmp_path)
    unnamed(folder, "13", "13", "31")
    with pytest.raises(SubmissionError, match="6 pictures have 3 rows: the official run dies"):
        open_dataset(CLASSIFICATION_2025, folder)
    unnamed(folder, *"1234567")
    text, code = check_dataset(CLASSIFICATION_2025, folder)
    assert code == 1
    assert "7 rows have 6 pictures: the others count as wrong" in text
    unnamed(folder)
    with pytest.raises(SubmissionError, match="6 pictures have 0 rows"):
        open_dataset(CLASSIFICATION_2025, folder)
    (folder / KEY).write_text("file_name,label\n")
    with pytest.raises(SubmissionError, match="has no column class_index but file_name, label"):
        open_dataset(CLASSIFICATION_2025, folder)


def test_the_score_is_the_plain_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures included: right classes in green, others in red."""
    paths = write(CLASSIFICATION_2025, tmp_path)
    session = onnxruntime.InferenceSession(str(paths["model"]))
    rows = [line.split(",") for line in (SAMPLE / KEY).read_text().splitlines()[1:]]
    right = 0
    for name, _, index in rows:
        picture = Image.open(SAMPLE / "images" / name).convert("RGB").resize((224, 224))
        fed = (np.array(picture, np.float32) / 255).transpose(2, 0, 1)[None]
        right += int(session.run(None, {"image": fed})[0].argmax()) == int(index)
    assert 0 < right < len(rows)
    arguments = ["score", "--track", "classification", "--data", str(SAMPLE)]
    arguments += ["--submission", str(paths["model"]), "--results", str(tmp_path / "r.sqlite")]
    assert main([*arguments, "--pictures", str(tmp_path / "worst")]) == 0
    out = capsys.readouterr().out
    assert f"accuracy {100 * right / len(rows):.4f} (95 % interval " in out
    assert "of 6 times, the most;" in out
    assert len(list((tmp_path / "worst").iterdir())) == 6


def test_the_likeliest_classes_stand_beside_the_photograph() -> None:
    answers = logits(24, CAT, CUP, 3)
    e = answered(CLASSIFICATION_2025, answers)
    runs = e.runs("photo")
    figure = answer(CLASSIFICATION_2025, runs[1])
    assert figure is not None
    assert figure.chart is not None
    assert figure.chart.labels[0] == "cat"
    assert len(figure.chart.labels) == 5
    assert figure.chart.values[0] == pytest.approx(0.99, abs=0.01)
    assert "its likeliest classes: 1: cat, 98.5%;" in figure.alt
    apart = difference(CLASSIFICATION_2025, runs[1], runs[2], "this machine", "NPU")
    assert apart is not None
    assert apart.caption.startswith("chelsea: cat and cup; largest difference ")
    odd = answered(CLASSIFICATION_2025, {"coffee": np.full((1, 64), np.nan, np.float32)})
    figure = answer(CLASSIFICATION_2025, odd.runs("photo")[0])
    assert figure is not None
    assert figure.chart is None
    assert "no class, for a value is not a number" in figure.alt


def test_the_class_of_the_data_set_is_green_in_its_ranking() -> None:
    dataset = open_dataset(CLASSIFICATION_2025, SAMPLE)
    photo = np.zeros((20, 30, 3), np.uint8)
    result = Result(dataset.items[2].id, {"correct": 0.0}, logits(24, CUP, CAT, 3)["coffee"][0])
    drawing = ranked(photo, {"model": dataset.items}, result)
    assert drawing.ranking[0].text.startswith("cat 9")
    green = css((20, 120, 60))
    assert drawing.legend[0] == (green, "the picture's class, cup")
    assert [css(rank.colour) == green for rank in drawing.ranking] == [
        rank.text.startswith("cup") for rank in drawing.ranking
    ]


@pytest.mark.parametrize(("emulated", "options"), [(True, ""), (False, "--target_runtime tflite")])
def test_a_local_hub_is_not_asked_for_tflite(emulated: bool, options: str, tmp_path: Path) -> None:
    path = write(CLASSIFICATION_2025, tmp_path)["model"]
    client = SimpleNamespace(submit_compile_job=lambda **asked: asked)
    hub = SimpleNamespace(client=client, ask=lambda call: call())
    device = SimpleNamespace(device="S24", emulated=emulated)
    (part,) = CLASSIFICATION_2025.parts
    model = Model("model", "onnx", str(path))
    job = submit_compile(hub, device, CLASSIFICATION_2025, part, model, path, tmp_path)
    assert (job["options"], job["model"]) == (options, str(path))
