"""`lpcvc compare`: what the second model loses, and how far its answers are from the first's."""

import json
from pathlib import Path

import onnx
import pytest

from conformance.cli import main
from conformance.runtimes.process import ModelProcess
from conformance.selftest import models
from conformance.selftest.mutants import MUTANTS
from reference.errors import SubmissionError
from reference.registry import find_track

pytestmark = pytest.mark.usefixtures("one_process")

DEPTH = find_track("depth")


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write(DEPTH, tmp_path_factory.mktemp("depth"))["model"]


@pytest.fixture
def no_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise SubmissionError("onnxruntime-qnn is not installed", "install it")

    monkeypatch.setattr("conformance.verbs.compare.compile_file", missing)
    monkeypatch.setattr("conformance.verbs.compare.estimate", missing)


def compare(one: Path, other: Path, *more: str, track: str = "depth") -> int:
    return main(["compare", str(one), str(other), "--track", track, *more])


def test_a_model_and_itself(depth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(depth, depth) == 0
    text = capsys.readouterr().out
    assert "largest error 0, mean error 0, rank correlation 1.000000" in text
    assert "one model, but for rounding" in text
    assert "->" not in text
    assert "worse:" not in text


def test_a_rule_that_the_other_breaks(
    depth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the other way round it is no loss."""
    mutant = next(each for each in MUTANTS if each.name == "depth up to 1.001")
    broken = Path(mutant.submit(tmp_path)[0].removeprefix("model="))
    assert compare(depth, broken) == 1
    text = capsys.readouterr().out
    assert "DEP-7: pass -> fail: " in text
    assert "\nworse: DEP-7: " in text
    assert compare(broken, depth) == 0
    assert "DEP-7: fail -> pass: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1 + 1e-6, "one model, but for rounding"),
        (1 - 2e-3, "as close as float16 is to float32"),
        (1 - 3e-2, "as close as 8 bits are to float32"),
        (1 - 0.9, "two models, or two trainings of one"),
    ],
)
@pytest.mark.usefixtures("no_toolchain")
def test_how_close_the_answers_are(
    factor: float, verdict: str, depth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = onnx.load(depth)
    last = other.graph.output[0].name
    for node in other.graph.node:
        node.output[:] = ["before" if name == last else name for name in node.output]
    scale = onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [], [factor])
    other.graph.initializer.append(scale)
    other.graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], [last]))
    onnx.save(other, tmp_path / "scaled.onnx")
    compare(depth, tmp_path / "scaled.onnx", "--json")
    (answers,) = json.loads(capsys.readouterr().out)["answers"]
    assert answers["verdict"] == verdict
    assert answers["probes"] > 2
    assert answers["figures"]["max_error"] == pytest.approx(abs(1 - factor), rel=0.1, abs=1e-6)


def test_a_file_that_is_none_is_told_before_the_work(
    depth: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No rule is asked of the first for it."""
    monkeypatch.setattr("conformance.contract.assessment.Assessment.verdict", None)
    (tmp_path / "bad.onnx").write_text("no model")
    assert compare(depth, tmp_path / "bad.onnx") == 2
    assert "bad.onnx is not an ONNX model" in capsys.readouterr().err


@pytest.mark.usefixtures("no_toolchain")
def test_a_model_of_pytorch_is_exported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nclass Mine(torch.nn.Module):\n    def forward(self, image):\n"
        "        return torch.sigmoid(image.mean(1, keepdim=True) / 255 - 0.5)\n"
    )
    monkeypatch.chdir(tmp_path)
    exported = []
    export = ModelProcess.export
    monkeypatch.setattr(ModelProcess, "export", lambda *a: (exported.append(a), export(*a)))
    compare(Path("mine.py:Mine"), Path("mine.py:Mine"), "--json")
    assert len(exported) == 2, "one for each side"
    facts = json.loads(capsys.readouterr().out)["model"]["facts"]["model"]
    assert facts["outputs"][0]["shape"] == [1, 1, 480, 640]


def test_both_parts_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.write(find_track("retrieval"), tmp_path)
    assert compare(tmp_path, tmp_path, track="retrieval") == 0
    text = capsys.readouterr().out
    assert "image parameters" in text
    assert "answers of text to " in text


@pytest.mark.usefixtures("no_toolchain")
def test_without_a_toolchain_the_rest_is_told(
    depth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(depth, depth) == 0
    text = capsys.readouterr().out
    assert "  none: onnxruntime-qnn is not installed; install it" in text
    assert "rules kept" in text


def test_what_leaves_the_npu(
    depth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Float on a device that has no float16, where the other is quantised."""
    pytest.importorskip("onnxruntime_qnn")
    quantised = tmp_path / "quantised.onnx"
    assert main(["quantize", str(depth), str(quantised), "--track", "depth"]) == 0
    capsys.readouterr()
    code = compare(quantised, depth, "--device", "QCS6490 (Proxy)")
    text = capsys.readouterr().out
    assert code == 1
    assert "worse: model leaves the NPU: " in text
