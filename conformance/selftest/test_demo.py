"""`lpcvc demo`: what is drawn is what was answered, and says where that was computed."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from conformance.cli import main
from conformance.scoring import runtimes
from conformance.selftest.models import DEFAULT_TRACKS, conforming, write
from conformance.selftest.scripted_hub import Script, ScriptedHub
from reference.npu.toolchain import find_toolchain
from reference.registry import find_track
from reference.tracks import Track

# Where a sheet has its pictures: margins, two lines of text, and 480 pixels of the longest edge.
LEFT, TOP, WIDE, BETWEEN = 6, 48, 480, 6


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; `half.png` is black to the left and white to the right."""
    monkeypatch.chdir(tmp_path)
    half = np.zeros((240, 320, 3), np.uint8)
    half[:, 160:] = 255
    Image.fromarray(half).save("half.png")
    return tmp_path


def panels(path: str = "demo.png", count: int = 2) -> list[np.ndarray]:
    """The pictures of a sheet, of 4:3, from the left; what is below them is not there."""
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    rows = slice(TOP, TOP + WIDE * 3 // 4)
    starts = [LEFT + k * (WIDE + BETWEEN) for k in range(count)]
    return [sheet[rows, start : start + WIDE] for start in starts]


def told(path: str = "demo.png") -> str:
    with Image.open(path) as image:
        return str(image.text["Description"])


def test_a_mask_is_red_where_it_is_bright(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(conforming("segmentation"), "m.onnx")
    texts = ["--text=the right half.", "--text=dog."]
    assert main(["demo", "m.onnx", "--track=segmentation", "--image=half.png", *texts]) == 0
    photo, one, two = panels(count=3)
    assert photo[180, 120].tolist() == [0, 0, 0]
    assert photo[180, 360].tolist() == [255, 255, 255]
    for answer in (one, two):
        assert answer[180, 120].tolist() == [20, 20, 20], "grey, and no mask"
        red = 0.4 * (255 * 0.85 + 20) + 0.6 * np.array((230, 60, 20))
        np.testing.assert_allclose(answer[180, 360], red, atol=1)
    said = capsys.readouterr().out
    assert "demo.png: segmentation-2025, m.onnx\n  computed  this machine, onnxruntime " in said
    assert said.count("  answer    the mask in red: 5") == 2, "half of the picture and its padding"
    assert "  picture   half.png\n" in said
    assert told().startswith("this machine, onnxruntime ")


def test_depth_is_yellow_where_it_is_far(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model's depth is a ramp from the top, and brighter is farther."""
    onnx.save(conforming("depth"), "m.onnx")
    Image.new("RGB", (640, 480), (128, 128, 128)).save("grey.png")
    command = ["demo", "m.onnx", "--track=depth", "--image=grey.png", "-o", "out.PNG"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["picture"]) == ("out.PNG", "grey.png")
    assert found["computed_on"].startswith("this machine, onnxruntime ")
    assert [each["to"] for each in found["answers"]] == ["answer"]
    photo, answer = panels("out.PNG")
    assert (photo == 128).all()
    top, bottom = answer[2, 240].astype(int), answer[-3, 240].astype(int)
    assert top[0] > 240 > 60 > top[2], "yellow"
    assert bottom[0] < 80 < bottom[2] + 10, "violet"
    assert (answer.min(axis=1) == answer.max(axis=1)).all(), "each row has one colour"


@pytest.mark.parametrize("track", DEFAULT_TRACKS, ids=lambda track: track.id)
def test_every_track_has_one(track: Track, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the suite's own picture and texts."""
    specs = [f"{part}={path}" for part, path in write(track, work).items()]
    specs = specs if specs[1:] else [specs[0].partition("=")[2]]
    assert main(["demo", *specs, "--track", track.id]) == 0
    said = capsys.readouterr().out
    assert "  picture   the suite's astronaut\n  answer    " in said
    answer = said.partition("  answer    ")[2].strip()
    assert told().endswith(answer.splitlines()[0])
    with Image.open("demo.png") as image:
        assert image.width > 2 * WIDE
        sheet = np.asarray(image.convert("RGB"))
    assert np.unique(sheet.reshape(-1, 3), axis=0).shape[0] > 1000, "a photograph is on it"


def test_the_nearest_text_comes_first(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(find_track("retrieval"), work)
    texts = ["a dog.", "a white square.", "nothing at all."]
    command = ["demo", "image=image.onnx", "text=text.onnx", "--track=retrieval"]
    assert main([*command, "--image=half.png", *(f"--text={text}" for text in texts)]) == 0
    (answer,) = (line for line in capsys.readouterr().out.splitlines() if "answer" in line)
    ranked = [each.rpartition(", ") for each in answer.removeprefix("  answer    ").split("; ")]
    assert sorted(text.partition(": ")[2] for text, _, _ in ranked) == sorted(texts)
    values = [float(value) for _, _, value in ranked]
    assert values == sorted(values, reverse=True)
    assert -1 <= values[-1] < values[0] <= 1


def test_an_emulated_npu_is_called_one(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        find_toolchain()
    except Exception as error:
        pytest.skip(str(error))
    onnx.save(conforming("classification"), "m.onnx")
    command = ["demo", "m.onnx", "--track=classification"]
    assert main([*command, "-o", "host.png"]) == main([*command, "--npu"]) == 0
    host, npu = told("host.png"), told()
    assert npu.startswith("emulated NPU of Samsung Galaxy S24 (Family), onnxruntime-qnn ")
    assert host.partition("likeliest classes: ")[2][:10] == npu.partition("classes: ")[2][:10]
    assert "  computed  emulated NPU of " in capsys.readouterr().out


def test_a_device_is_called_one(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("qai_hub", reason="needs the hub extra")
    hub = ScriptedHub(Script())
    monkeypatch.setattr(runtimes, "Hub", lambda *_: hub)
    monkeypatch.setattr(ScriptedHub, "own", False)
    onnx.save(conforming("depth"), "m.onnx")
    device = "--on-device=Samsung Galaxy S23"
    assert main(["demo", "m.onnx", "--track=depth", device, "--image=half.png"]) == 0
    assert "  computed  AI Hub, Samsung Galaxy S23\n" in capsys.readouterr().out
    assert told().startswith("AI Hub, Samsung Galaxy S23: depth-2025, m.onnx: its depth, ")
    assert hub.client.calls == ["compile", "inference"]
    main(["demo", "m.onnx", "--track=depth", "--image=half.png", "-o", "host.png"])
    for one, two in zip(panels(), panels("host.png"), strict=True):
        assert np.array_equal(one, two), "the scripted device answers as the host does"
    capsys.readouterr()
    hub.script.spoil = lambda output: output[..., 1:]
    assert main(["demo", "m.onnx", "--track=depth", device]) == 2
    assert "the model answers 1x1x480x639, not 1x1x480x640; hold it" in capsys.readouterr().err


def test_what_cannot_be_drawn_is_told_in_a_line(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(conforming("depth"), "m.onnx")
    mistakes = {
        ("--text=a dog.",): "depth-2025 takes no text; leave --text out",
        ("--npu", "--on-device=Samsung Galaxy S23"): "--npu and --on-device are two answers",
        ("--weights=w.pth",): "--weights is of the reference",
        ("-o", "half.jpg"): "half.jpg is no .png",
        ("-o", "m.onnx/where.png"): "m.onnx/where.png cannot be written (what should be its",
        ("--image=half.png", "-o", "half.png"): "half.png is the picture itself",
        ("--image=none.png",): "none.png",
        ("--image=m.onnx",): "m.onnx",
        ("--track=segmentation", "--image=half.png"): "takes a text with the picture; add --text",
        ("--track=aigc",): "aigc-2026 takes a package",
    }
    before = Path("half.png").read_bytes()
    for options, problem in mistakes.items():
        assert main(["demo", "m.onnx", "--track=depth", *options]) == 2, options
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
    assert Path("half.png").read_bytes() == before
    assert not Path("demo.png").exists()


@pytest.mark.slow
def test_without_a_model_it_is_the_reference(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Built with random weights, and said so; progress is told meanwhile."""
    assert main(["demo", "--track=depth"]) == 0
    said = capsys.readouterr()
    assert "demo.png: depth-2025, reference model, random weights\n" in said.out
    assert "building the reference of depth-2025 " in said.err
