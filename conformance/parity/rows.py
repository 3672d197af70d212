"""What parity measured, as a line, as the story of a disagreement, and as the table of branches."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.report.terminal import Row
from reference.agreement import told
from reference.tracks import Track

if TYPE_CHECKING:
    from conformance.parity.comparison import Agreement
    from reference.agreement import Precision

_REMEDIES: dict["Precision", str] = {
    "float32": "export in eval mode, and write branches on data as torch.where: tracing freezes"
    " them",
    "float16": "keep values between 6e-5 and 65504 there: scale before sums and squares, choose a"
    " larger epsilon",
    "w8a8": "calibrate with photographs as they are fed, or keep this operator in 16 bit",
}
# Operators that Qualcomm's AI Runtime 2.51 computes wrongly, measured on its emulator.
_NPU_DEFECTS = {
    "AveragePool": "some padded windows are put elsewhere there, and NPU-11 tries which: write the"
    " pool as a depthwise convolution with constant weights",
    "MaxPool": "some padded windows are put elsewhere there, and NPU-11 tries which: pool with"
    " stride 1 and take every second pixel, or as many as the stride says",
}


def measured(track: Track, measures: object) -> str:
    """The figures in a line; what was not measured is left out."""
    return told(track.room("agreement"), measures)


def told_of(row: Row, agreement: "Agreement") -> Row:
    """The line of the table with the precision, and with what to know where the sides disagree."""
    row = replace(row, level=agreement.precision)
    if not agreement.broken:
        return row
    return replace(
        row,
        remedy=_remedy(agreement),
        expected="; ".join(map(str, agreement.broken)),
        source=agreement.broken[0].source,
    )


def explain_disagreement(row: Row, track: Track, agreement: "Agreement") -> str:
    """The whole story of two runtimes that disagree: measure, tolerance, probe, node, remedy."""
    lines = {
        "expected": row.expected,
        "source": row.source,
        "seen": measured(track, agreement.measures),
        "at": f"probe {agreement.probe.name!r}",
        "located": agreement.located,
        "remedy": row.remedy,
        "again": row.again,
    }
    head = f"{row.rule}: the two sides disagree ({agreement.precision})"
    return "\n".join([head, *(f"  {name:<9}{text}" for name, text in lines.items())])


def branch_table(reports: Iterable[Mapping[str, str]]) -> Iterable[str]:
    """For each submission of two encoders the cosine of each, in float and compiled.

    `reports` are the facts of the items: subject, rule and cosine.
    """
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for found in reports:
        if "cosine" in found:
            part, _, pair = found["rule"].partition(" ")
            cells.setdefault(found["subject"], {})[part, pair] = found["cosine"]
    for subject, own in cells.items():
        yield ""
        yield f"{subject}, cosine by branch"
        yield f"  {'':<6} {'float, to PyTorch':>18} {'compiled, to float':>19}"
        for part in dict.fromkeys(part for part, _ in own):
            values = [own.get((part, pair), "not measured") for pair in ("torch=onnx", "onnx=npu")]
            yield f"  {part:<6} {values[0]:>18} {values[1]:>19}"


def _remedy(agreement: "Agreement") -> str:
    known = "" if agreement.precision == "float32" else _NPU_DEFECTS.get(agreement.operator, "")
    return known or _REMEDIES[agreement.precision]
