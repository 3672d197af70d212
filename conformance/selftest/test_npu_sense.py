"""Rules of the NPU that need a model made for them: sense, ranges, pools, and what is rewritten."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from conformance.rulebook import Level, all_rules
from conformance.selftest import small
from conformance.selftest.assess import broken
from conformance.selftest.models import Builder, conforming
from conformance.selftest.surgery import Change, after, both, step
from conformance.selftest.test_npu_rules import (
    NO_FLOAT16,
    STATIC,
    compiled,
    made_up,
    submit,
    toolchain,
)
from reference.depth.contract import DEPTH_2025
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

__all__ = ["toolchain"]  # a fixture of this module too


def submit_depth(*changes: Change) -> Callable[[Path], list[str]]:
    def submitted(folder: Path) -> list[str]:
        model = conforming("depth")
        both(*changes)(model)
        onnx.save(model, folder / "model.onnx")
        return [str(folder / "model.onnx")]

    return submitted


def submit_part(part: str, *changes: Change) -> Callable[[Path], list[str]]:
    def submitted(folder: Path) -> list[str]:
        model = conforming("retrieval", part)
        both(*changes)(model)
        return submit(model, folder, part)

    return submitted


def submit_shifted(offset: float) -> Callable[[Path], list[str]]:
    """A small depth model of brightness, which goes up by `offset` and down again."""

    def submitted(folder: Path) -> list[str]:
        b = Builder(small.DEPTH.parts[0])
        b.constant("luma", np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1) / 255)
        b.constant("offset", offset)
        up = b.node("Add", b.node("Conv", "image", "luma", out="grey"), "offset", out="up")
        b.node("Sigmoid", b.node("Sub", up, "offset", out="down"))
        onnx.save(b.model("depth"), folder / "small.onnx")
        return [str(folder / "small.onnx")]

    return submitted


# On the host each makes sense; in float16 it is all zeros, flat, or the same for every input.
SENSELESS = {
    "a tiny embedding": (
        RETRIEVAL_2026,
        submit_part("image", after("embedding", step("Mul", 1e-9))),
        ("all zeros, float32 1x16", "Mul 'embedding' is "),
    ),
    "a text between two scales": (
        RETRIEVAL_2026,
        submit_part("text", after("embedding", step("Mul", 3e-9), step("Mul", 1e9))),
        ("all zeros, float32 1x16", "Mul 'embedding_step_0' is "),
    ),
    "an offset above float16": (
        small.DEPTH,
        submit_shifted(1e5),
        ("flat: the middle 90 % span 0 of 0.5..0.5", "Add 'up' is 1e+05..1e+05"),
    ),
    "an offset that eats the digits": (
        small.DEPTH,
        submit_shifted(3e4),
        ("flat: the middle 90 % span 0 of 0.5..0.5", ""),
    ),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_what_makes_sense_on_the_host_alone(name: str, tmp_path: Path) -> None:
    track, submitted, (seen, cause) = SENSELESS[name]
    device = "" if track is RETRIEVAL_2026 else "Samsung Galaxy S24"
    verdicts = compiled(track, submitted(tmp_path), tmp_path, device, ("NPU-9", "NPU-10"))
    verdict = verdicts["NPU-9"]
    assert verdict.outcome == "fail"
    assert seen in verdict.seen
    assert " on the emulated NPU; " in verdict.seen
    assert " on the host" in verdict.seen
    assert cause in verdict.seen
    assert "scale before the last layer" in verdict.remedy
    assert broken(verdicts) == ({"NPU-9", "NPU-10"} if cause else {"NPU-9"})
    assert all_rules()["NPU-9"].level is Level.REQUIRED
    assert all_rules()["NPU-10"].level is Level.ADVICE


def masks(threshold: float) -> list[np.ndarray]:
    """Of the probes of segmentation: noise above a threshold."""
    rng = np.random.default_rng(2)
    return [(rng.random((1024, 1024)) > threshold).astype(np.float32) for _ in range(4)]


def test_a_mask_that_is_empty_on_the_npu_alone() -> None:
    verdict = all_rules()["NPU-9"].check(made_up(SEGMENTATION_2025, masks(1), masks(0.7)))
    assert verdict.outcome == "fail"
    assert verdict.seen.startswith("empty masks for all 3 probes (0..0 over 3 probes) on the")
    assert all_rules()["NPU-9"].check(made_up(SEGMENTATION_2025, masks(1), masks(1))).seen == (
        "0..0 over 4 probes on the emulated NPU, as on the host"
    )


def test_a_padded_pool_that_the_compiler_puts_elsewhere(tmp_path: Path) -> None:
    """9x9 with a stride of 4, as PIDNet has it, and not the 3x3 beside it."""
    nine = {"kernel_shape": [9, 9], "strides": [4, 4], "pads": [4] * 4, "count_include_pad": 1}
    three = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
    small = step("Resize", "", "", np.array([1, 3, 64, 64]), mode="linear")
    full = step("Resize", "", "", np.array([1, 3, 480, 640]), mode="linear")
    pools = [step("AveragePool", **three), step("AveragePool", **nine)]
    specs = submit_depth(after("image", small, *pools, full))(tmp_path)
    verdict = compiled(DEPTH_2025, specs, tmp_path, rules=("NPU-11",))["NPU-11"]
    assert verdict.outcome == "fail"
    assert verdict.seen.startswith("AveragePool 'image_step_2' is off by ")
    assert "image_step_1" not in verdict.seen
    assert verdict.remedy == "write it as a depthwise convolution with constant weights"
    assert all_rules()["NPU-11"].level is Level.ADVICE


def test_reductions_that_onnxruntime_fails_on_compile_whole(tmp_path: Path) -> None:
    """`y.amin()` and `y.amax()` as the legacy exporter writes them."""

    def as_exported(model: ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type in ("ReduceMin", "ReduceMax"):
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("keepdims", 0))
                empty = onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS)
                node.attribute.append(empty)

    specs = submit_depth(as_exported)(tmp_path)
    verdicts = compiled(DEPTH_2025, specs, tmp_path, rules=STATIC)
    assert broken(verdicts) == set()
    assert verdicts["NPU-1"].seen.count("onnxruntime's optimiser fails on its empty list") == 2


def partly_quantised(folder: Path) -> list[str]:
    """QDQ around one of the operators of the depth model."""
    scale, zero = np.float32(1 / 100), np.array(128, np.uint8)
    around = [step("QuantizeLinear", scale, zero), step("DequantizeLinear", scale, zero)]
    again = [step("QuantizeLinear", scale, zero), step("DequantizeLinear", scale, zero)]
    return submit_depth(after("normalised", *around, step("Relu"), *again))(folder)


def test_operators_are_quantised_and_not_graphs(tmp_path: Path) -> None:
    specs = partly_quantised(tmp_path)
    rules = ("NPU-1", "NPU-3")
    verdicts = compiled(DEPTH_2025, specs, tmp_path, rules=rules)
    assert verdicts["NPU-3"].seen == "SM8650 has float16; 1 of 12 operators are quantised"
    (tmp_path / "other").mkdir()
    verdicts = compiled(DEPTH_2025, specs, tmp_path / "other", NO_FLOAT16, rules)
    assert verdicts["NPU-3"].outcome == "fail"
    assert verdicts["NPU-3"].seen == (
        "1 of 12 operators are quantised: Sub 'centred', Div 'normalised', Conv 'conv_2' and 8 more"
        " compute in float, and QCS6490 has no float16"
    )
    assert verdicts["NPU-1"].outcome == "skip"
