"""`lpcvc estimate` on the command line."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from conformance.cli import main
from conformance.selftest.test_compile import two_inputs
from reference.npu.budget import judge
from reference.npu.simulation import simulate
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, conv, model, needs_compiler, node, save

S24, S23 = "Samsung Galaxy S24", "Samsung Galaxy S23"
TRACK = ("--track", "pidnet")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def normalised() -> onnx.ModelProto:
    """A picture that is normalised, and a convolution that pads."""
    size = (1, 3, 256, 256)
    nodes = [node("Sub", "p mean", "s"), node("Div", "s std", "x"), conv()]
    shape = (1, 3, 1, 1)
    weights = {
        "mean": np.array([0.4, 0.5, 0.6], np.float32).reshape(shape),
        "std": np.full(shape, 0.25, np.float32),
        "kernel": models.KERNEL,
    }
    return model(nodes, [("p", FLOAT, size)], [("c", FLOAT, (1, 8, 256, 256))], weights)


def estimate(capsys: pytest.CaptureFixture[str], *options: str, code: int = 0) -> list[str]:
    assert main(["estimate", *options]) == code
    return capsys.readouterr().out.splitlines()


@needs_compiler
def test_a_table_of_devices(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    lines = estimate(capsys, "net.onnx", *TRACK, "--device", S24, "--device", S23)
    assert lines[0] == "pidnet, qnn_dlc: latency estimates, not measurements"
    headings = "part device estimate 80 % interval budget verdict confidence"
    assert lines[1].split() == headings.split()
    assert lines[2].split()[:4] == ["model", *S24.split()]
    assert lines[2].split()[-3:] == ["-", "-", "low"]
    assert lines[3].split()[-5:] == ["none", "-", "-", "-", "none"]
    text = "\n".join(lines)
    assert "the limit of the track is not in milliseconds: no slower than the card's row" in text
    assert "model: confidence none: no published latencies of the SM8550 with qnn_dlc" in text
    assert f"model: confidence low: below 0.3 ms the overhead of a call decides ({S24})" in text
    told = estimate(capsys, "net.onnx", *TRACK, "--device", S24, "--device", S23, "--json")
    found = json.loads("\n".join(told))
    assert (found["runtime"], found["budget_ms"]) == ("qnn_dlc", None)
    (part,) = found["parts"]
    first, second = part["estimates"]
    assert (first["device"], first["confidence"]) == (S24, "low")
    assert first["low_ms"] < first["estimate_ms"] < first["high_ms"]
    assert (second["estimate_ms"], second["confidence"]) == (None, "none")
    assert [own["estimate_ms"] for own in found["together"]] == [first["estimate_ms"], None]


@needs_compiler
def test_every_device(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    lines = estimate(capsys, "net.onnx", *TRACK, "--all-devices", "--plot", "all.png")
    rows = [line for line in lines if line.startswith("  model  ")]
    assert len(rows) == 24
    assert sum(row.endswith("none") for row in rows) == 4
    assert (place / "all.png").read_bytes().startswith(b"\x89PNG")


@needs_compiler
def test_two_parts_are_added_up(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    save(models.elementwise, place)
    specs = ("image=net.onnx", "text=elementwise.onnx")
    lines = estimate(capsys, *specs, "--track", "retrieval", "--device", S24)
    image, text, together = (line.split() for line in lines[2:5])
    assert together[0] == "together"
    assert together[-5:] == ["35", "ms", "likely", "within", "low"]
    ms = [float(row[4]) for row in (image, text, together)]
    assert ms[0] + ms[1] == pytest.approx(ms[2], rel=0.02)
    assert (image[-2], text[-2]) == ("-", "-"), "no part has a limit of its own"


@needs_compiler
def test_any_models_without_a_track(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For the devices that are named, as a context binary, without a budget."""
    save(models.net, place)
    save(two_inputs, place)
    first, *lines = estimate(capsys, "net.onnx", "--device", S24, "--device", S23)
    assert first == "net.onnx, qnn_context_binary: latency estimates, not measurements"
    assert lines[1].split()[:4] == ["net", *S24.split()]
    assert lines[1].split()[-3:] == ["-", "-", "low"]
    assert lines[2].split()[:4] == ["net", *S23.split()]
    assert not any("limit" in line for line in lines)
    first, *lines = estimate(
        capsys, "net.onnx", "two_inputs.onnx", "--device", S24, "--runtime", "qnn_dlc"
    )
    assert first == "net.onnx two_inputs.onnx, qnn_dlc: latency estimates, not measurements"
    assert [line.split()[0] for line in lines[1:4]] == ["net", "two_inputs", "together"]
    ms = [float(line.split()[4]) for line in lines[1:4]]
    assert ms[0] + ms[1] == pytest.approx(ms[2], rel=0.02)
    track = estimate(capsys, "net.onnx", "--device", S24, "--track", "pidnet")
    assert float(track[2].split()[4]) == ms[0], "the same model in the same runtime"


@needs_compiler
def test_a_change_without_a_track(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(normalised, place)
    lines = estimate(capsys, "normalised.onnx", "--device", S24, "--what-if", "fold-normalisation")
    assert any(
        line.startswith("normalised, what if fold-normalisation: /s/Sub, /x/Div folded, ")
        for line in lines
    )


@needs_compiler
def test_why_and_what_if(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The gain is that of the simulation of the changed file."""
    path = save(normalised, place)
    changes = ("--what-if", "fold-normalisation", "--what-if", "nchw")
    options = (path.name, *TRACK, "--device", S24, "--why")
    first = "\n".join(estimate(capsys, *options))
    assert "\n    -> fold it into the convolution: --what-if fold-normalisation" in first
    lines = estimate(capsys, *options, *changes)
    start = "model, what if fold-normalisation: /s/Sub, /x/Div folded, with a channel of ones"
    at = next(index for index, line in enumerate(lines) if line.startswith(start))
    before = simulate(path, "qnn_dlc").simulated.whole
    words = lines[at + 1].split()
    assert words[0] == "simulated:"
    assert float(words[1]) == pytest.approx(before, rel=0.01)
    assert float(words[4]) < before
    assert lines[at + 2].startswith(f"  estimate for {S24}: ")
    at = lines.index("model, what if nchw: images as exported")
    exported = simulate(path, "onnx").simulated.whole
    assert float(lines[at + 1].split()[4]) == pytest.approx(exported, rel=0.01)
    table = next(index for index, line in enumerate(lines) if line.startswith("model, why: "))
    assert lines[table + 1].split() == ["operator", "type", "unit", "ms", "share", "DDR"]
    shown = lines[
        table + 2 : lines.index("  operators that the compiler fuses count as the last of them")
    ]
    assert any(row.split()[0] == "/s/Sub" for row in shown)
    assert sum(int(row.split("%")[0].split()[-1]) for row in shown) >= 90
    assert "    -> fold it into the convolution: see above" in lines


@needs_compiler
def test_a_change_that_cannot_be_made(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and the estimate is there; another part may have what this one has not."""
    save(models.net, place)
    lines = estimate(capsys, "net.onnx", *TRACK, "--device", S24, "--what-if", "fold-normalisation")
    assert lines[-3:] == [
        "model, what if fold-normalisation: cannot be done",
        "  no normalisation that leads from an image into a convolution was found",
        "    -> (x - mean) / std with constants, right before the first convolution, can be folded",
    ]


@needs_compiler
def test_anchors(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    (place / "known.json").write_text(json.dumps([{"model": "net.onnx", "device": S24, "ms": 7}]))
    options = ("net.onnx", *TRACK, "--anchors", "known.json", "--device", "QCS8550 (Proxy)")
    lines = estimate(capsys, *options)
    assert 9 < float(lines[2].split()[3]) < 11
    assert "  model: tied to net.onnx on Samsung Galaxy S24, 7 ms, times 1.4" in lines


@needs_compiler
def test_no_estimate_at_all(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.quantised_16, place)
    lines = estimate(capsys, "quantised_16.onnx", *TRACK, "--why", code=1)
    assert "model: confidence none: the model is quantised" in "\n".join(lines)
    assert "    -> estimate the float model" in lines


@needs_compiler
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--what-if", "magic"), "no change 'magic'; choose one of: fold-normalisation, nchw"),
        (("--anchors", "no.json"), "the anchors no.json cannot be read"),
        (("--plot", "net.onnx/ms.png"), "net.onnx/ms.png cannot be written (what should be its"),
        (("--device", "Galaxy S99"), "unknown device 'Galaxy S99'"),
    ],
)
def test_what_the_user_can_put_right(
    options: tuple[str, ...], problem: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(models.net, place)
    assert main(["estimate", "net.onnx", *TRACK, *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("lpcvc: ")
    assert problem in error


@pytest.mark.parametrize(
    ("low", "high", "budget", "word"),
    [
        (1.0, 2.0, None, "-"),
        (1.0, 2.0, 2.0, "likely within"),
        (1.0, 2.0, math.nextafter(2.0, 0), "unclear"),
        (1.0, 2.0, 1.0, "unclear"),
        (1.0, 2.0, math.nextafter(1.0, 0), "likely over"),
    ],
)
def test_verdicts_at_their_bounds(low: float, high: float, budget: float | None, word: str) -> None:
    assert judge(low, high, budget) == word
