"""The scores of answers, held to a plain computation, and the quirks of what is read of them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from reference.aigc.answer import CRITERIA, read_answer
from reference.aigc.answers import Judged, criterion_match, f1, image_score, score
from reference.aigc.dataset import Truth, index, truth
from reference.data import fixture
from reference.errors import SubmissionError

SAMPLE = Path(fixture("samples")) / "aigc"
FAKE = Truth(True, dict.fromkeys(CRITERIA, 1), dict.fromkeys(CRITERIA, "because"))
REAL = Truth(False, {}, {})


def answer(likelihood: str = "AI-Generated", key: str = "aigc score", **scores: Any) -> str:
    given = scores or {str(i): 1 for i in range(8)}
    entries = [
        {"criterion": CRITERIA[int(i.lstrip("c"))], key: score, "evidence": "because"}
        for i, score in given.items()
    ]
    return json.dumps({"overall_likelihood": likelihood, "per_criterion": entries})


def plain(folder: Path) -> dict[str, float]:
    """Both scores of the sample set and its answers, with nothing but the standard library."""
    notes = json.loads((folder / "annotation.json").read_text())
    table = dict.fromkeys(("hit", "miss", "alarm", "fine"), 0)
    total, readable = 0.0, 0
    for picture in sorted(folder.glob("[RF]*/*.png")):
        fake = picture.parent.name == "Fake"
        found = list((folder / "answers" / picture.parent.name).glob(f"{picture.stem}.*"))
        try:
            said = json.loads(found[0].read_text())
        except (IndexError, ValueError):
            table["miss" if fake else "alarm"] += 1
            continue
        readable += 1
        verdict = said["overall_likelihood"] == "AI-Generated"
        if fake:
            table["hit" if verdict else "miss"] += 1
            theirs = {c["criterion"]: c["score"] > 0 for c in notes[picture.stem]["per_criterion"]}
            ours = {
                c["criterion"]: c.get("aigc score", c.get("score")) for c in said["per_criterion"]
            }
            equal = [theirs[name] == ours[name] for name in theirs]
            total += 0.5 * verdict + 0.25 * sum(equal) / len(equal)
        else:
            table["alarm" if verdict else "fine"] += 1
            total += not verdict
    precision = table["hit"] / (table["hit"] + table["alarm"])
    recall = table["hit"] / (table["hit"] + table["miss"])
    return {
        "f1": 2 * precision * recall / (precision + recall),
        "estimate": total / sum(table.values()),
        "script": total / readable,
    }


def test_the_sample_set_scores_what_plain_python_says() -> None:
    joined, surplus = score(index(SAMPLE).items, truth, SAMPLE / "answers")
    told, wanted = dict(joined.remarks), plain(SAMPLE)
    assert wanted["f1"] == pytest.approx(0.4)
    assert wanted["estimate"] == pytest.approx(0.484375)
    assert told["early page"].startswith(f"{wanted['f1'] / 2:.4f} = 0.5 x F1 {wanted['f1']:.4f}")
    assert told["winner's estimator"].startswith(f"{wanted['estimate']:.4f}, without the simila")
    assert told["winner's estimator"].endswith("up to 0.0833"), "of two generated ones in six"
    assert told["its script"].startswith(f"{wanted['script']:.4f}: it leaves 1 without")
    assert surplus == []


def test_f1_is_that_of_precision_and_recall() -> None:
    dice = random.Random(17)
    for count in (1, 2, 7, 50):
        truths = [dice.random() < 0.5 for _ in range(count)]
        said = [dice.choice([None, "Real", "Uncertain", "AI-Generated"]) for _ in range(count)]
        judged = [
            Judged(FAKE if fake else REAL, read_answer(answer(word)) if word else None)
            for fake, word in zip(truths, said, strict=True)
        ]
        guesses = [
            word == "AI-Generated" if word else not fake
            for fake, word in zip(truths, said, strict=True)
        ]
        hits = sum(truth and guess for truth, guess in zip(truths, guesses, strict=True))
        precision, recall = hits / max(sum(guesses), 1), hits / max(sum(truths), 1)
        wanted = 2 * precision * recall / (precision + recall) if hits else 0.0
        assert f1(judged) == pytest.approx(wanted)


def test_a_whole_answer_with_all_evidence_is_1() -> None:
    judged = Judged(FAKE, read_answer(answer()))
    assert image_score(judged) == 0.75
    assert image_score(judged, evidence=1.0) == 1.0
    assert read_answer(answer()).problems == ()


def test_uncertain_is_right_of_a_real_picture_and_wrong_of_a_generated_one() -> None:
    """evaluate_server_score.py says "1 if Real" and compares with "AI-Generated" (erratum E53)."""
    said = read_answer(answer("Uncertain"))
    assert image_score(Judged(REAL, said)) == 1.0
    assert image_score(Judged(FAKE, said)) == 0.25


def test_criteria_that_are_missing_do_not_count_against() -> None:
    said = read_answer(answer(c0=1, c1=0))
    assert criterion_match(FAKE, said) == 0.5
    assert criterion_match(REAL, said) == 0.0
    assert said.problems == ("per_criterion has 2 entries and not 8",)


def test_both_keys_of_the_score_are_read() -> None:
    """Erratum E50: sample_output.json has `score`, the prompt `aigc score`, which goes first."""
    said = read_answer(answer(key="score"))
    assert said.scores == dict.fromkeys(CRITERIA, 1)
    assert said.problems == (
        "the key is 'score', and the prompt asks for 'aigc score' (erratum E50)",
    )
    both = json.loads(answer(key="score"))
    for entry in both["per_criterion"]:
        entry["aigc score"] = 0
    assert read_answer(json.dumps(both)).scores == dict.fromkeys(CRITERIA, 0)


def test_common_sense_is_written_in_two_ways() -> None:
    """Erratum E51: sample_output.json leaves the hyphen out."""
    said = read_answer(answer().replace("Common-Sense", "Common Sense"))
    assert (len(said.scores), said.problems) == (8, ())


def test_what_genie_prints_around_an_answer_is_taken_off() -> None:
    assert read_answer(f"[BEGIN]: {answer()}[END]\n") == read_answer(answer())


def test_the_last_entry_of_a_criterion_counts() -> None:
    found = json.loads(answer())
    found["per_criterion"].append(found["per_criterion"][0] | {"aigc score": 0})
    assert read_answer(json.dumps(found)).scores[CRITERIA[0]] == 0


@pytest.mark.parametrize(
    ("value", "counts", "told"),
    [
        (2, 2, "a score is 2 and not 0 or 1"),
        ("1", 1, "a score is '1' and not 0 or 1"),
        (True, 1, "a score is True and not 0 or 1"),
        ("yes", None, "a score is 'yes' and not 0 or 1"),
        (None, None, "a score is None and not 0 or 1"),
        ([1], None, "a score is [1] and not 0 or 1"),
        (float("inf"), None, "a score is inf and not 0 or 1"),
    ],
)
def test_scores_of_other_kinds(value: Any, counts: int | None, told: str) -> None:
    found = json.loads(answer())
    found["per_criterion"][0]["aigc score"] = value
    said = read_answer(json.dumps(found))
    assert said.scores.get(CRITERIA[0]) == counts
    assert said.problems == (told,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is no JSON"),
        ("{} {}", "it is no JSON"),
        ("```json\n{}\n```", "leave out the fence"),
        (answer()[:-1] + ",}", "it is no JSON"),
        ("[1]", "it is no JSON object"),
        ("{}", "it is no JSON object"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_what_is_no_json_scores_0(text: str, told: str) -> None:
    with pytest.raises(SubmissionError) as caught:
        read_answer(text)
    assert told in str(caught.value)
    assert image_score(Judged(REAL, None)) == 0.0


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"overall_likelihood": "Fake", "per_criterion": []}, "overall_likelihood is 'Fake' and"),
        ({"x": 1}, "overall_likelihood is None and not one of Real, Uncertain, AI-Generated"),
        ({"overall_likelihood": "Real", "per_criterion": {}}, "per_criterion has 0 entries"),
        ({"overall_likelihood": "Real", "per_criterion": [1, {"criterion": "Taste"}]}, "'Taste'"),
    ],
)
def test_answers_of_another_form_are_told_and_read(found: dict[str, Any], told: str) -> None:
    said = read_answer(json.dumps(found))
    assert any(problem.startswith(told) for problem in said.problems)
    assert not said.generated


def set_of(folder: Path, *pictures: str, notes: Any = None) -> Path:
    for name in ("Real", "Fake"):
        (folder / name).mkdir(parents=True)
    source = SAMPLE / "Real" / "coffee.png"
    for name in pictures:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(source.read_bytes())
    (folder / "annotation.json").write_text(json.dumps({} if notes is None else notes))
    return folder


def test_pairs_go_by_place_and_then_by_a_name_that_is_alone(tmp_path: Path) -> None:
    items = index(set_of(tmp_path / "d", "Real/a.png", "Fake/a.png", "Fake/b.png")).items
    answers = tmp_path / "answers"
    (answers / "Fake").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (answers / f"{name}.json").write_text(answer())
    (answers / "Fake/a.txt").write_text(answer("Real"))
    joined, surplus = score(items, truth, answers)
    found = {result.item: result for result in joined.results}
    assert found["Real/a"].error == "there is no answer; write Real/a.json: it scores 0"
    assert found["Fake/a"].numbers == {"score": 0.0, "detection": 0.0}
    assert found["Fake/b"].numbers["score"] == 0.5
    assert surplus == ["a.json", "c.json"]


def test_what_is_wrong_with_a_data_set(tmp_path: Path) -> None:
    notes = {"gone": {}, "bad": {"per_criterion": [{"criterion": CRITERIA[0], "score": 3}]}}
    names = ("Real/a.jpg", "Fake/Copy of bad.png", "Fake/none.png", "Real/x/y.png", "Real/x_y.png")
    found = index(set_of(tmp_path, *names, notes=notes))
    told = sorted(f"{Path(f.file).name}: {f.problem}" for f in found.findings)
    assert told == [
        "a.jpg: the official script skips it: it reads .png alone",
        "annotation.json: there is no picture of the name 'gone' in Fake/",
        "none.png: annotation.json has no entry for it: it scores detection alone",
        "x_y.png: the official script calls it Real_x_y, like Real/x/y.png",
    ]
    assert [f.fatal for f in found.findings if "calls it" in f.problem] == [True]
    bad = next(item for item in found.items if item.id.endswith("bad"))
    with pytest.raises(SubmissionError, match="a score 0, 1 or 2"):
        truth(bad)


def test_scores_of_the_annotation_are_made_0_and_1() -> None:
    clock = next(item for item in index(SAMPLE).items if item.id == "Fake/clock")
    known = truth(clock)
    assert [known.scores[name] for name in CRITERIA] == [0, 0, 1, 0, 0, 1, 0, 0]
    assert known.generated
