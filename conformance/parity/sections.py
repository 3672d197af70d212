"""What a report shows of parity: the error by layer."""

import math
from collections.abc import Iterator

from conformance.contract.pictures import difference
from conformance.parity.comparison import Agreement, Comparison, Runtime
from conformance.report.document import Chart, Section
from reference.errors import one_line

_SIDES: dict[Runtime, str] = {
    "torch": "PyTorch",
    "onnx": "ONNX on this machine",
    "tflite": "TFLite on this machine",
    "npu": "the emulated NPU",
}
_SHOWN = 44  # characters


def parity_sections(own: Comparison) -> Iterator[Section]:
    """Where the answers part, and the error after each layer that was looked at."""
    charts, notes, figures = [], [], []
    for (part, pair), found in own.agreements.items():
        if found.located:
            notes.append(f"{part}, {' against '.join(pair)}: {found.located}")
        if found.errors:
            sides = " against ".join(_SIDES[side] for side in pair)
            charts.append(_layers(f"{part}: {sides}, {found.precision}", found))
        if found.broken and found.probe.role == "photo":
            one, other = (own.kept_run(part, runtime) for runtime in pair)
            figure = difference(own.assessment.track, one, other, *pair)
            figures += [figure] if figure else []
    if charts:
        notes.append(
            "The signal of a layer is so many dB above its error, 0 where both are of one size;"
            " at the dashed line is what the arithmetic itself makes of a sound layer."
        )
    if notes or figures:
        yield Section(
            "parity",
            "Error by layer" if charts else "Where the answers part",
            own.label,
            tuple(notes),
            figures=tuple(figures),
            charts=tuple(charts),
        )


def _layers(caption: str, found: Agreement) -> Chart:
    """Signal above error by layer, first computed first."""
    names = [tensor for tensor, _ in found.errors]
    levels = tuple(_decibels(error) for _, error in found.errors)
    marked = names.index(found.wrong) if found.wrong else None
    told = f"lowest after {found.layers[levels.index(min(levels))]} with {min(levels):.3g} dB"
    if marked is not None:
        told = f"the first that is wrong is {found.layers[marked]} with {levels[marked]:.3g} dB"
    return Chart(
        "bars",
        caption,
        one_line(
            f"Signal above error after {len(levels)} layers from input to output: {levels[0]:.3g}"
            f" dB at first and {levels[-1]:.3g} at last; {told}."
        ),
        tuple(one_line(_end(layer)) for layer in found.layers),
        levels,
        "dB",
        marked=marked,
        limit=_decibels(found.floor),
    )


def _decibels(error: float) -> float:
    """Of a signal above its error, which is in standard deviations of the signal."""
    return -20 * math.log10(error) if error else math.inf


def _end(layer: str) -> str:
    """The operator, and the end of a long name."""
    op, _, name = layer.partition(" ")
    return f"{op} {name if len(name) <= _SHOWN else f'...{name[3 - _SHOWN :]}'}"
