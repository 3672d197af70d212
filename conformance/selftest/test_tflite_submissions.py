"""A `.tflite` is a submission like any other: held to the same rules by LiteRT's answers, compiled
by Qualcomm's plugin, compared with what it was made of, and refused in one line where it cannot be.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from conformance.device.jobs import submit_compile
from conformance.parity.comparison import TFLITE_PAIRS
from conformance.parity.items import ParityWing
from conformance.runtimes.npu import compile_file, emulated
from conformance.runtimes.process import ModelProcess
from conformance.runtimes.tflite import from_file, to_file
from conformance.scoring.runtimes import RUNTIMES
from conformance.selftest.assess import assess, broken
from conformance.selftest.fetch import (
    HAND_RECROP,
    SELFIE_LITE,
    Weights,
    how_to_enable,
    local,
    verify,
)
from conformance.selftest.models import conforming
from conformance.selftest.opening import refused
from conformance.selftest.tflite_depth import depth_tflite
from conformance.submission.graph import read_graph
from conformance.submission.model import Model
from conformance.submission.opening import open_submission
from conformance.submission.quantised import operators
from conformance.suite import Suite
from conformance.verbs.check import check_files
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.litert.network import Network, Value
from reference.npu.devices import find_device
from reference.process import Limits
from reference.tests import tflite_models
from reference.tests.tflite_models import needs_litert

pytestmark = [needs_litert, pytest.mark.usefixtures("one_process")]
ONNX_ALONE = {"COM-3", "COM-5", "COM-7", "IMG-4", "IMG-6"}
LIMITS = Limits(timeout=300.0)


def save(path: Path, **change: object) -> str:
    path.write_bytes(depth_tflite(**change))
    return str(path)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({}, set()),
        ({"int8": True}, set()),
        ({"name": "x"}, {"DEP-1"}),
        ({"shape": (1, 480, 640, 3)}, {"DEP-2"}),
        ({"again": True}, {"DEP-4"}),
        ({"constant": True}, {"IMG-1", "DEP-9"}),
        ({"constant": True, "epsilon": 0.0}, {"COM-10", "COM-11"}),
        ({"scale": 1.01}, {"DEP-7"}),
        ({"scale": 1.01, "int8": True}, set()),
        ({"random": True}, {"COM-6"}),
    ],
    ids=lambda given: str(sorted(given)),
)
def test_rules_are_held_to(change: dict[str, object], rules: set[str], tmp_path: Path) -> None:
    """What int8 cuts off is judged as it comes out."""
    verdicts = assess(DEPTH_2025, [save(tmp_path / "my.tflite", **change)], tmp_path / "work")
    assert broken(verdicts) == rules, {id: verdicts[id] for id in broken(verdicts)}
    for id in ONNX_ALONE:
        told = "my.tflite is TFLite, and this reads ONNX: hold its source to it too"
        assert (verdicts[id].outcome, verdicts[id].seen) == ("skip", told)
    if not rules:
        assert "ai-edge-litert" in verdicts["COM-8"].seen
        assert verdicts["COM-4"].seen.endswith("operators, all TFLite's own")


def test_the_layout_is_mended_and_compared_by_the_verb(tmp_path: Path) -> None:
    mine = save(tmp_path / "my.tflite")
    last = save(tmp_path / "last.tflite", shape=(1, 480, 640, 3))
    assert check_files([mine], DEPTH_2025, strict=False)[1] == 0
    text, code = check_files([last], DEPTH_2025, strict=False)
    assert code == 1
    assert "DEP-2 (required): image float32 1x480x640x3, expected" in text


def hostile() -> bytes:
    """The offset of the root table leads far behind the end."""
    return b"\xff\xff\xff\x7f" + depth_tflite()[4:]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (tflite_models.custom, "has custom operators (Sorcery), which TFLite has not; write them"),
        (tflite_models.dynamic, "has the dynamic shape [-1, 8, 16, 4] at 'image'; convert it"),
        (tflite_models.several, "has 2 signatures (one, two); export one of them alone"),
        (tflite_models.enormous, "has a tensor of"),
        (lambda: depth_tflite()[:400], "is a damaged TFLite file, or was cut short"),
        (hostile, "is a damaged TFLite file, or was cut short"),
        (lambda: b"PK\3\4 no flatbuffer", "is not a TFLite file: its mark TFL3 is missing"),
        (lambda: b"", "is empty"),
    ],
)
def test_what_is_refused(content: Callable[[], bytes], told: str, place: Path) -> None:
    (place / "my.tflite").write_bytes(content())
    assert refused("my.tflite").startswith(f"my.tflite {told}")


def test_what_it_was_made_of_may_come_with_it(place: Path) -> None:
    mine = save(place / "my.tflite")
    onnx.save(conforming(DEPTH_2025), "my.onnx")
    for specs in ([mine, "my.onnx"], ["my.onnx", mine]):
        found = open_submission(DEPTH_2025, specs, place / "scratch")
        assert found.models["model"].format == "tflite"
        source = found.onnx("model")
        assert source is not None
        assert source.path == Path("my.onnx")
        assert (found.torch, found.original("model")) == (False, None)
    assert "given twice" in refused(f"model={mine}", f"model={mine}")


def cases(specs: Sequence[str]) -> dict[str, object]:
    suite = Suite(["depth"], specs, None, ["Samsung Galaxy S24"], limits=LIMITS)
    wing = ParityWing(suite, layers=False)
    found = wing.cases()
    assert [case.pair for case in found] == list(TFLITE_PAIRS)
    return {case.label: case.judged().row for case in found if "npu" not in case.pair}


def test_it_is_compared_with_its_source(place: Path) -> None:
    mine = save(place / "my.tflite")
    onnx.save(conforming(DEPTH_2025), "my.onnx")
    rows = cases([mine, "my.onnx"])
    assert rows["model onnx=tflite"].status == "pass"
    assert rows["model torch=tflite"].seen == (
        "no PyTorch came with it: --submission my.tflite --submission my.pt"
    )
    other = cases([save(place / "other.tflite", scale=0.9), "my.onnx"])["model onnx=tflite"]
    assert other.status == "FAIL"
    assert other.seen.endswith("not located: TFLite shows no tensors inside")
    assert cases([mine])["model onnx=tflite"].status == "skip"


def test_integers_of_a_scale_are_fed_and_read_as_numbers() -> None:
    value = Value("x", (1, 4), "int8", 0, scale=0.5, zero_point=-128)
    network = Network((value,), (value,), (), (), 1, 4)
    fed = np.array([[0, 0.6, 127.5, 900]], np.float32)
    stored = to_file(network, {"x": fed})["x"]
    assert stored.dtype == np.int8
    assert stored.tolist() == [[-128, -127, 127, 127]]
    read = from_file(network, {"x": stored})["x"]
    assert read.dtype == np.float32
    assert read.tolist() == [[0, 0.5, 127.5, 127.5]]


def test_quantised_operators_are_told_by_their_type(tmp_path: Path) -> None:
    path = tmp_path / "my.tflite"
    path.write_bytes(tflite_models.quantised())
    found = operators(read_graph(path))
    assert (len(found.quantised), len(found.floating)) == (1, 0)
    path.write_bytes(depth_tflite(int8=True))
    assert len(operators(read_graph(path)).quantised) == 0


def test_it_is_compiled_and_emulated_as_it_runs_on_the_host(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    path = tmp_path / "my.tflite"
    path.write_bytes(tflite_models.plain())
    made = compile_file(path, find_device("Samsung Galaxy S24"), limits=LIMITS)
    assert made.whole
    assert made.binary.stat().st_size > 1000
    feeds = {"image": np.random.default_rng(3).random(tflite_models.PICTURE, np.float32)}
    with emulated(made, LIMITS) as forward:
        npu = forward(feeds)["map"]
    with ModelProcess("my.tflite", tmp_path, lambda seconds: None, LIMITS) as process:
        assert process.load(Model("model", "tflite", str(path))).startswith("ai-edge-litert")
        (host,) = process.run(feeds, tmp_path / "pass").outputs
    np.testing.assert_allclose(npu, host, atol=0.01)
    assert np.ptp(host) > 0.1


def test_where_onnx_is_needed_is_said(tmp_path: Path) -> None:
    mine = Model("model", "tflite", save(tmp_path / "my.tflite"))
    with pytest.raises(
        SubmissionError, match=r"my.tflite is TFLite, not ONNX; take --runtime tflite"
    ):
        RUNTIMES["ort"].open(mine, None, tmp_path, print).__enter__()
    with pytest.raises(SubmissionError, match=r"my.onnx is no .tflite; take --runtime ort"):
        RUNTIMES["tflite"].open(Model("m", "onnx", "my.onnx"), None, tmp_path, print).__enter__()
    (part,) = DEPTH_2025.parts
    with pytest.raises(SubmissionError, match=r"AI Hub takes .tflite for profile and inference"):
        submit_compile(None, SimpleNamespace(), DEPTH_2025, part, mine, mine.path, tmp_path)


def published(weights: Weights) -> Path:
    path = local(weights)
    if path is None:
        pytest.skip(how_to_enable(weights))
    verify(weights.name, path.read_bytes(), weights.sha256)
    return path


def test_an_operator_of_mediapipes_own_is_named() -> None:
    with pytest.raises(SubmissionError, match=r"custom operators \(Convolution2DTransposeBias\)"):
        read_graph(published(SELFIE_LITE))


def test_mediapipes_network_of_hands_is_emulated_as_it_runs_on_the_host(tmp_path: Path) -> None:
    """63 operators with float16 weights; coordinates of up to 225 are right to a tenth."""
    pytest.importorskip("onnxruntime_qnn")
    path = published(HAND_RECROP)
    made = compile_file(path, find_device("Samsung Galaxy S24"), limits=LIMITS)
    assert (len(made.placement.npu), made.whole) == (63, True)
    feeds = {"input_1": np.random.default_rng(0).random((1, 256, 256, 3), np.float32)}
    with emulated(made, LIMITS) as forward:
        npu = forward(feeds)["output_crop"]
    with ModelProcess(path.name, tmp_path, lambda seconds: None, LIMITS) as process:
        process.load(Model("model", "tflite", str(path)))
        (host,) = process.run(feeds, tmp_path / "pass").outputs
    np.testing.assert_allclose(npu, host, atol=0.2)
    assert np.abs(host).max() > 200
