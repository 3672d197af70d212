"""Rules of token ids on made-up answers and graphs."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.contract.probes import TEXTS
from conformance.rulebook import Verdict, all_rules, failed, passed, skipped
from conformance.rules.behaviour import NO_RUN
from conformance.rules.contract import NO_GRAPH
from conformance.selftest.facts import evidence, graph_of, judge, judge_answers
from conformance.submission.graph import Value
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

FIRST, SECOND = repr(TEXTS[0]), repr(TEXTS[1])
PADDED = f"{FIRST}, zeros as padding"
DOG, CAT = "'dog.'", "'cat.'"
TAILS = "long text A", "long text B"


def judged(rule: str, answers: dict[str, float]) -> Verdict:
    """Of embeddings that hold these numbers, by the name of the probe."""
    arrays = {name: np.array([[0, value, 1000]], np.float32) for name, value in answers.items()}
    return judge_answers(rule, RETRIEVAL_2026, arrays)


def test_texts_of_one_length_need_different_answers() -> None:
    pair = "'dog.' and 'cat.'"
    seen = f"the same for texts of one length, {pair}: float32 1x3, 0..1000"
    expected, where = "an answer that depends on the text", f"text model, probe {DOG!r}"
    assert judged("TXT-1", {DOG: 5, CAT: 5}) == failed(expected, seen, where)
    assert judged("TXT-1", {DOG: 5, CAT: 6}) == passed(f"told apart: {pair}")
    assert judged("TXT-1", {DOG: 5, CAT: 5 + 1e-5}).outcome == "fail", "rounding"
    assert judged("TXT-1", {DOG: 5}) == skipped(NO_RUN)
    assert judged("TXT-1", {FIRST: 5, SECOND: 6}) == skipped(NO_RUN), "of two lengths"


def test_one_pair_that_is_told_apart_is_enough() -> None:
    a, b = TAILS
    assert judged("TXT-1", {DOG: 5, CAT: 5, a: 1, b: 2}) == passed(f"told apart: {a} and {b}")
    assert judged("TXT-1", {DOG: 5, CAT: 4, a: 1, b: 1}).outcome == "pass"
    empty, full = np.zeros((1024, 1024), np.float32), np.ones((1024, 1024), np.float32)
    answers = {"astronaut, 'flag.'": empty, "astronaut, 'dog.'": full}
    assert judge_answers("TXT-1", SEGMENTATION_2025, answers).outcome == "pass"
    same = {**dict.fromkeys(answers, full), "astronaut": empty}
    assert judge_answers("TXT-1", SEGMENTATION_2025, same).outcome == "fail"


@pytest.mark.parametrize(
    ("off", "outcome"), [(0, "pass"), (1, "pass"), (1.01, "fail"), (2, "fail"), (900, "fail")]
)
def test_padding_may_move_an_embedding_by_a_thousandth(off: float, outcome: str) -> None:
    verdict = judged("TXT-2", {FIRST: 0, PADDED: off})
    seen = {
        "pass": f"moves by {off / 1000:.2g} when the padding changes",
        "fail": f"{off / 1000:.2g} of the answer moves when the padding is 0 and not 49407",
    }
    assert (verdict.outcome, verdict.seen) == (outcome, seen[outcome])
    assert verdict.where == (f"text model, probe {PADDED!r}" if outcome == "fail" else "")


@pytest.mark.parametrize(
    "answers", [{PADDED: 1}, {FIRST: 1}, {FIRST: np.nan, PADDED: 1}, {FIRST: 1, PADDED: np.nan}]
)
def test_padding_is_judged_by_two_finite_answers(answers: dict) -> None:
    assert judged("TXT-2", answers) == skipped(NO_RUN)


def test_the_last_word_of_a_long_text() -> None:
    texts, (a, b) = {DOG: 1, CAT: 2}, TAILS
    assert judged("TXT-3", {**texts, a: 5, b: 6}).outcome == "pass"
    expected, seen = "answers that differ", "the last word of a long text is not read"
    where = f"text model, probe {a!r}"
    assert judged("TXT-3", {**texts, a: 5, b: 5}) == failed(expected, seen, where)
    unread = skipped("no text is read at all (TXT-1)")
    assert judged("TXT-3", {DOG: 1, CAT: 1, a: 5, b: 5}) == unread
    assert judged("TXT-3", {a: 5, b: 5}) == unread
    assert judged("TXT-3", {**texts, a: 5}) == skipped(NO_RUN)
    assert judged("TXT-3", texts) == skipped(NO_RUN)


@pytest.mark.parametrize(
    ("text", "dtype", "kept"),
    [
        ("Cast text -> x to=7", "int32", False),
        ("Cast text -> x to=7", "int64", True),
        ("Cast text -> x to=7", "float32", True),
        ("Cast text -> x to=6", "int32", True),
        ("Cast text -> x to=10", "int32", True),
        ("BitCast text -> x to=7", "int32", True),
        ("Identity text -> x to=7", "int32", True),
        ("Slice text,a,b -> y; Squeeze y -> z; Cast z -> x to=7", "int32", False),
        ("Add text,one -> y; Cast y -> x to=7", "int32", True),
        ("Min text,one -> ids; Cast ids -> x to=7", "int32", False),
        ("Sub one,text -> ids; Mul ids,one -> more; Cast more -> x to=7", "int32", False),
        ("Equal text,one -> y; Cast y -> x to=7", "int32", True),
        ("Gather table,text -> y; Cast y -> x to=7", "int32", True),
        ("Gather words,text -> y; Cast y -> x to=7", "int32", True),
    ],
)
def test_casts_of_the_ids(text: str, dtype: str, kept: bool) -> None:
    reckoned = {name: Value(name, "int32", (1, 77)) for name in ("ids", "more")}
    graph = replace(graph_of(text), inputs=(Value("text", dtype, (1, 77)),), values=reckoned)
    wanted = failed("int32 ids throughout", "Cast 'x' makes them int64", "text model")
    assert judge("TXT-4", graph, RETRIEVAL_2026) == (passed("no such Cast") if kept else wanted)


def test_casts_are_looked_for_in_the_text_model() -> None:
    own = evidence(track=RETRIEVAL_2026)
    assert all_rules()["TXT-4"].check(own) == passed("no such Cast")
    del own.graphs["text"]
    assert all_rules()["TXT-4"].check(own) == skipped(NO_GRAPH)


@pytest.mark.parametrize(
    ("text", "rows", "outcome"),
    [
        ("Gather table,text -> x", 49408, "pass"),
        ("Gather table,text -> x", 49407, "fail"),
        ("Cast text -> y; Reshape y,shape -> z; Gather table,z -> x", 1000, "fail"),
        ("Min text,top -> y; Gather table,y -> x", 1000, "pass"),
        ("Gather other,text -> x", 1000, "pass"),
        ("Gather table,text -> x axis=7", 1000, "pass"),
        ("Gather table -> x", 1000, "pass"),
    ],
)
def test_tables_have_a_row_for_each_token(text: str, rows: int, outcome: str) -> None:
    table = {"table": Value("table", "float32", (rows, 512))}
    own = evidence(track=RETRIEVAL_2026)
    own.graphs["text"] = replace(graph_of(text), weights=table)
    verdict = all_rules()["TXT-5"].check(own)
    assert verdict.outcome == outcome
    if outcome == "fail":
        assert (verdict.seen, verdict.where) == (f"{rows} rows, read by Gather 'x'", "text model")
