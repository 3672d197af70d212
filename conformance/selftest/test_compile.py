"""`lpcvc compile` on the command line."""

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest

from conformance.cli import main
from conformance.selftest.models import conforming
from conformance.selftest.surgery import after, step
from reference.npu.toolchain import find_toolchain
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, needs_compiler, node, save

TRACK = ("--track", "pidnet")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_compiler
def test_a_whole_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    command = ["compile", "net.onnx", *TRACK, "--dlc", "--output", "out"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pidnet, net.onnx: 1 of 1 compile whole"
    assert lines[1].split()[:4] == ["device", "compiles", "NPU", "ops"]
    assert lines[2].split()[:4] == ["Samsung", "Galaxy", "S24", "whole"]
    assert "not available" in lines[2]
    assert lines[3].strip() == str(find_toolchain())
    assert lines[4] == "  ranges not seen: its inputs (x float32 1x3x32x32) are not the track's"
    assert len(lines) == 5, "nothing to fix"
    made = sorted(path.name for path in (place / "out" / "model" / "Samsung-Galaxy-S24").iterdir())
    assert made == ["compile.log", "model.dlc", "model.onnx", "model_qnn.bin"]
    assert main(command) == 0
    assert re.search(r" [\d.]+ .B .* cached$", capsys.readouterr().out, re.MULTILINE)
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["track"], found["whole"]) == ("pidnet", True)
    ((one,), (device,)) = found["models"], found["models"][0]["devices"]
    assert (one["part"], one["file"]) == ("model", "net.onnx")
    assert one["ranges"]["none"].startswith("its inputs (x float32 1x3x32x32) are not")
    assert (device["device"], device["cached"]) == ("Samsung Galaxy S24", True)
    assert device["cpu_nodes"] == []
    binary = place / "out" / "model" / "Samsung-Galaxy-S24" / "model_qnn.bin"
    assert device["binary_bytes"] == binary.stat().st_size
    assert device["compile_seconds"] > 0


@needs_compiler
def test_what_float16_does_not_hold_and_what_was_rewritten(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Advice: a model that compiles whole is no failure for it."""
    model = conforming("depth")
    assert main(["compile", str(saved(model, place)), "--track", "depth"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n  ranges on the host: \d+ tensors, all within float16\n$", out)
    after("image", step("Add", 1e5), step("Sub", 1e5))(model)
    lowest = next(node for node in model.graph.node if node.op_type == "ReduceMin")
    del lowest.attribute[:]
    lowest.attribute.append(onnx.helper.make_attribute("keepdims", 0))
    lowest.attribute.append(onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS))
    assert main(["compile", str(saved(model, place)), "--track", "depth"]) == 0
    out = capsys.readouterr().out
    assert f"rewritten for onnxruntime, in a copy: ReduceMin {lowest.name!r}: " in out
    _, _, advice = out.partition("beyond float16 on the host (advice):\n")
    assert advice.splitlines()[:2] == [
        "  Add 'image_step_0' is 1e+05..1e+05",
        "    -> scale it down ahead of this node: float16 ends at 65504",
    ]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "depth.onnx")
    return folder / "depth.onnx"


@needs_compiler
def test_what_to_fix(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem once, the remedy from the table of hazards where it knows the node."""
    save(models.mask_head, place)
    devices = ("Samsung Galaxy S24 (Family)", "SA8775P ADP", "QCS6490 (Proxy)")
    options = [part for device in devices for part in ("--device", device)]
    assert main(["compile", "mask_head.onnx", *TRACK, *options]) == 1
    out = capsys.readouterr().out
    assert out.startswith("pidnet, mask_head.onnx: 0 of 3 compile whole\n")
    _, _, fixes = out.partition("to fix:\n")
    assert fixes.splitlines() == [
        "  Samsung Galaxy S24, SA8775P ADP: Einsum '/y/Einsum' on the CPU:"
        " the validator refuses its MatMul",
        "    -> write it as a matrix product: q @ features.flatten(2), then reshape",
        "  QCS6490 (Proxy): the model computes in float, and QCS6490 has no float16",
        "    -> quantise the model to int8 (w8a8), or choose a device with float16",
    ]


@needs_compiler
def test_a_node_without_a_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes by its output, and the table of hazards knows it by that too."""
    model = models.mask_head()
    model.graph.node[-1].name = ""
    onnx.save(model, place / "unnamed.onnx")
    assert main(["compile", "unnamed.onnx", *TRACK]) == 1
    _, _, fixes = capsys.readouterr().out.partition("to fix:\n")
    assert fixes.splitlines() == [
        "  Einsum 'y' on the CPU: the validator refuses its MatMul",
        "    -> write it as a matrix product: q @ features.flatten(2), then reshape",
    ]


@needs_compiler
def test_refused_as_a_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.sampled_5d, place)
    assert main(["compile", "sampled_5d.onnx", *TRACK]) == 1
    out = capsys.readouterr().out
    assert "Samsung Galaxy S24  no " in out
    assert "the whole model is refused for GridSample '/y/GridSample': has incorrect Rank 5" in out
    assert "-> sample every slice with a 4-D GridSample" in out


@needs_compiler
def test_simulated_time_is_labelled(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.net, place)
    assert main(["compile", "net.onnx", *TRACK, "--device", "SA8775P ADP"]) == 0
    out = capsys.readouterr().out
    assert " ms (" in out
    assert "simulated: by the compiler, milliseconds (bounds); not a measurement" in out


@needs_compiler
def test_a_hang_is_one_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(models.huge_relu, place)
    assert main(["compile", "huge_relu.onnx", *TRACK, "--timeout", "2"]) == 1
    out = capsys.readouterr().out
    assert "Samsung Galaxy S24  no " in out
    assert "gave no answer for 2 s and was stopped" in out
    assert "--timeout SECONDS" in out


@needs_compiler
def test_a_pytorch_model_and_two_parts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A factory is exported first; each part has its table."""
    save(models.net, place)
    (place / "mine.py").write_text(
        "import torch\n"
        "class Image(torch.nn.Module):\n"
        "    def forward(self, image):\n"
        "        return torch.nn.functional.avg_pool2d(image, 32).flatten(1)\n"
    )
    assert main(["compile", "image=mine:Image", "text=net.onnx", "--track", "retrieval"]) == 0
    out = capsys.readouterr().out
    assert "retrieval-2026, mine.Image.onnx: 1 of 1 compile whole" in out
    assert "retrieval-2026, net.onnx: 1 of 1 compile whole" in out
    assert out.count("XR2 Gen 2 (Proxy)") == 2


def two_inputs() -> onnx.ModelProto:
    """A picture, and a gain for each channel."""
    return models.after_conv(
        node("Mul", "c gain", "y"),
        more=[("gain", FLOAT, (1, 8, 1, 1))],
        out=("y", FLOAT, (1, 8, 32, 32)),
    )


@needs_compiler
def test_any_models_without_a_track(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For the devices that are named; of ranges nothing, as nothing says what they are fed."""
    save(models.net, place)
    save(two_inputs, place)
    devices = ("--device", "SA8775P ADP", "--device", "Samsung Galaxy S24")
    command = ["compile", "net.onnx", "two_inputs.onnx", *devices, "--output", "out"]
    assert main(command) == 0
    for name, table in zip(
        ("net", "two_inputs"), capsys.readouterr().out.split("\n\n"), strict=True
    ):
        lines = table.rstrip("\n").splitlines()
        assert lines[0] == f"{name}.onnx: 2 of 2 compile whole"
        assert lines[2].split()[:3] == ["SA8775P", "ADP", "whole"]
        assert lines[3].split()[:4] == ["Samsung", "Galaxy", "S24", "whole"]
        assert lines[-1] == "  ranges not seen: nothing says what the model is fed"
        assert (place / "out" / name / "SA8775P-ADP" / "model_qnn.bin").is_file()
    save(models.mask_head, place)
    assert main(["compile", "mask_head.onnx", *devices[:2]]) == 1
    assert capsys.readouterr().out.startswith("mask_head.onnx: 0 of 1 compile whole\n")


@needs_compiler
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["net.onnx"],
            "nothing says for which device; give --device NAME (`lpcvc devices` lists them),"
            " --all-devices or --track",
        ),
        ([], "no model is given; give one, or --track for its reference"),
        (["--all-devices"], "no model is given; give one, or --track for its reference"),
        (
            ["net.onnx", "--all-devices", "--device", "SA8775P ADP"],
            "--device and --all-devices are two answers; give one of them",
        ),
        (
            ["mine:Model", "--device", "SA8775P ADP"],
            "mine:Model is no ONNX file and is exported for the inputs of a track; add --track",
        ),
        (
            ["net.onnx", "other/net.onnx", "--device", "SA8775P ADP"],
            "two models are called net; give each in a run of its own",
        ),
        (["no.onnx", "--device", "SA8775P ADP"], "no such file: no.onnx; "),
    ],
)
@pytest.mark.parametrize("verb", ["compile", "estimate"])
def test_what_only_a_track_would_say(
    verb: str, arguments: list[str], told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "mine.py").write_text("Model = None\n")
    save(models.net, place)
    (place / "other").mkdir()
    save(models.net, place / "other")
    assert main([verb, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"lpcvc: {told}")
    assert captured.err.count("\n") == 1


@needs_compiler
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["no.onnx", *TRACK], "no such file: no.onnx"),
        (["short.onnx", *TRACK], "short.onnx is not an ONNX model or was cut short"),
        (
            ["net.onnx", *TRACK, "--device", "Galaxy S42"],
            "unknown device 'Galaxy S42'; the closest are",
        ),
        (["net.onnx", "--track", "retrieval"], "retrieval-2026 needs 2 models"),
        (["--track", "retrieval-2026-draft"], "retrieval-2026-draft has no reference model"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], expected: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(models.net, place)
    shutil.copy(path, place / "short.onnx")
    (place / "short.onnx").write_bytes(path.read_bytes()[:-100])
    assert main(["compile", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert expected in told.err
