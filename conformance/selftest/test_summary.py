"""What the terminal shows at the end: what is broken last, and no line wider than it is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.report.summary import Told, ranges, summary
from conformance.report.terminal import Row, Status

STORY = """DEP-{n} (required): {title}
  source   sample solution README, section 2, item 6; not enforced by the evaluator
  expected values in [0, 1]
  seen     float32 1x1x480x640, 0..1.001; 7 of 307200 values, first at (0, 0, 0, 439): 1.0002549
  remedy   end with min-max normalisation, or clamp(0, 1), in place {n}
  again    pytest --pyargs conformance -m contract --track depth-2025 --submission my.onnx -k x"""
TITLE = "Depth lies in [0, 1] on the host, to one unit in the last place of 1."


def told(n: int, status: Status, subject: str = "depth-2025, my.onnx") -> Told:
    remedy = f"end with min-max normalisation, or clamp(0, 1), in place {n}"
    seen = "the compiler is not installed; pip install it" if status == "skip" else "0..1"
    row = Row(subject, f"DEP-{n}", "required", status, seen, remedy, title=TITLE)
    return Told(row, STORY.format(n=n, title=TITLE) if status == "FAIL" else "")


def lines(found: list[Told], width: int = 80, *, verbose: bool = False) -> list[str]:
    return [line for line, _ in summary(found, width, verbose=verbose)]


MIXED = [told(n, s) for n, s in enumerate(["FAIL", "pass", "pass", "warn", "skip", "pass"], 1)]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_but_for_the_command(width: int, verbose: bool) -> None:
    shown = lines(MIXED, width, verbose=verbose)
    assert all(len(line) <= width for line in shown if not line.startswith("  again    pytest"))
    assert sum(line.startswith("  again    pytest") and "-k x" in line for line in shown) == 1


def test_what_is_broken_comes_last() -> None:
    """In a subject, and of subjects."""
    shown = lines(MIXED)
    assert shown[:3] == [
        "",
        "depth-2025, my.onnx: 3 pass, 1 FAIL, 1 warn, 1 skip",
        "  pass  3 rules, which -v lists: DEP-2..3, DEP-6",
    ]
    assert shown[-1].startswith("  again    ")
    warned = shown.index(f"  warn  DEP-4 (required): {TITLE[:52]}")
    assert "        -> end with min-max normalisation" in "\n".join(shown[warned:])
    both = lines([*MIXED, told(1, "pass", "pidnet, other.onnx")])
    assert both[1] == "pidnet, other.onnx: 1 pass"


def test_the_last_screen_says_what_to_do() -> None:
    failing = [told(n, "FAIL") for n in range(1, 9)]
    shown = lines([*MIXED[1:], *failing])
    last = "\n".join(shown[-23:])
    for n in range(1, 9):
        assert f"  DEP-{n}: end with min-max normalisation, or clamp(0, 1), in place {n}" in last
    same = [replace(each, row=replace(each.row, remedy="export again")) for each in failing]
    assert lines(same)[-2:] == ["to do:", "  DEP-1..8: export again"]


def test_passes_with_v_and_measured_ones() -> None:
    shown = lines(MIXED, 120, verbose=True)
    assert f"  pass  DEP-2 (required): {TITLE}" in shown
    assert shown.count("        0..1") == 4
    figure = Row("pidnet, m.onnx", "model onnx=npu", "float16", "pass", "PSNR 66 dB", "")
    assert lines([Told(figure)])[2] == "  pass  model onnx=npu (float16): PSNR 66 dB"
    device = replace(told(1, "pass").row, rule="DEV-3", seen="12 ms, budget 30 ms")
    assert "        12 ms, budget 30 ms" in lines([Told(device)])


def test_a_reason_to_skip_is_told_once() -> None:
    shown = "\n".join(lines([told(n, "skip", s) for s in ("a", "b", "c") for n in (1, 2, 4)], 200))
    assert shown.count("the compiler is not installed; pip install it") == 1
    assert shown.count("  skip  DEP-1..2, DEP-4: for the same reason") == 2


def test_without_stories_a_failure_is_a_row() -> None:
    """As with --tb=no."""
    shown = lines([Told(told(1, "FAIL").row)], 120)
    assert shown[-3:] == [
        f"  FAIL  DEP-1 (required): {TITLE}",
        "        0..1",
        "        -> end with min-max normalisation, or clamp(0, 1), in place 1",
    ]


def test_ranges() -> None:
    ids = ["COM-1", "COM-2", "COM-3", "DEP-2", "COM-8", "model onnx=npu", "COM-9", "COM-9"]
    assert ranges(ids) == "COM-1..3, COM-8..9, DEP-2, model onnx=npu"
    assert ranges([]) == ""


@given(
    st.lists(st.text(st.characters(exclude_categories=["C", "Z"])), max_size=5), st.integers(1, 200)
)
def test_whatever_a_story_says_is_there(words: list[str], width: int) -> None:
    story = "\n".join(["head", *(f"  seen     {word}" for word in words)])
    shown = lines([Told(told(1, "FAIL").row, story)], width)
    assert "".join(story.split()) in "".join("".join(shown).split())
