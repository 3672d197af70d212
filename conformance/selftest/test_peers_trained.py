"""Published weights are not turned away either; skipped where the files are absent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto

from conformance.selftest.assess import assess, broken
from conformance.selftest.fetch import (
    ALL,
    DEEPLAB,
    SELFIE,
    U2NETP,
    VARIABLE,
    Weights,
    how_to_enable,
    local,
    verify,
)
from conformance.selftest.peers_trained import (
    deeplab_segmentation,
    selfie_segmentation,
    u2netp_segmentation,
)
from conformance.selftest.test_peers import rejected
from reference.data import fixture
from reference.images import open_pillow
from reference.segmentation.contract import SEGMENTATION_2025
from reference.segmentation.inputs import prepare_image, prepare_text

# What mediapipe 0.10.21 answers to every second pixel of the astronaut (solutions.
# selfie_segmentation, model_selection=0): means of 32x32 pixels, and pixels of an edge.
MEANS = [
    [0.0000, 0.0000, 0.1763, 0.6969, 0.3057, 0.0000, 0.0000, 0.0000],
    [0.0000, 0.0000, 0.5178, 1.0000, 0.6545, 0.0000, 0.0000, 0.0000],
    [0.0000, 0.0280, 0.5957, 1.0000, 0.1745, 0.0000, 0.0000, 0.0000],
    [0.0032, 0.5772, 1.0000, 1.0000, 0.7379, 0.0260, 0.0000, 0.0000],
    [0.2990, 1.0000, 1.0000, 1.0000, 1.0000, 0.5669, 0.0000, 0.0000],
    [0.5787, 1.0000, 1.0000, 1.0000, 0.9762, 0.9042, 0.5844, 0.1167],
    [0.8141, 1.0000, 1.0000, 1.0000, 1.0000, 0.9988, 1.0000, 0.6858],
    [0.8528, 0.9927, 0.9930, 0.9988, 1.0000, 0.9995, 1.0000, 0.8231],
]
EDGE = [
    [0.0000, 0.0023, 0.0639, 0.1130, 0.4468, 0.5005, 0.9921, 1.0000],
    [0.0000, 0.0044, 0.0681, 0.1331, 0.4335, 0.5168, 0.9954, 1.0000],
]


def published(weights: Weights) -> Path:
    path = local(weights)
    if path is None:
        pytest.skip(how_to_enable(weights))
    verify(weights.name, path.read_bytes(), weights.sha256)
    return path


@pytest.mark.parametrize(
    ("weights", "wrapped"),
    [
        (U2NETP, u2netp_segmentation),
        (DEEPLAB, deeplab_segmentation),
        (SELFIE, selfie_segmentation),
    ],
    ids=lambda value: value.name if isinstance(value, Weights) else "",
)
def test_it_is_not_rejected(
    weights: Weights, wrapped: Callable[[Path], ModelProto], tmp_path: Path
) -> None:
    path = tmp_path / weights.name
    onnx.save(wrapped(published(weights)), path)
    verdicts = assess(SEGMENTATION_2025, [str(path)], tmp_path / "work")
    assert rejected(verdicts) == {}
    assert broken(verdicts) == set()


def test_deeplab_finds_what_the_text_names() -> None:
    model = deeplab_segmentation(published(DEEPLAB)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def mask(photo: str, text: str) -> np.ndarray:
        image = prepare_image(fixture(f"photos/{photo}"))
        feeds = {"image_input": image, "text_input": prepare_text(text)}
        found: np.ndarray = session.run(None, feeds)[0] > 0
        return found

    cat = mask("chelsea.png", "the face of a tabby cat.")
    content = prepare_image(fixture("photos/chelsea.png"))[0].max(axis=0) > 0
    assert 0.7 < cat.sum() / content.sum() < 0.9
    assert not mask("chelsea.png", "a dog.").any()
    rest = mask("chelsea.png", "the background.")
    assert (cat ^ rest)[content].mean() > 0.95
    assert 0.3 < mask("astronaut.png", "an astronaut in an orange suit.").mean() < 0.6


def test_the_translated_selfie_segmentation_answers_as_mediapipe_does() -> None:
    session = onnxruntime.InferenceSession(published(SELFIE), providers=["CPUExecutionProvider"])
    pixels = np.asarray(open_pillow(fixture("photos/astronaut.png")))[::2, ::2]
    picture = pixels.astype(np.float32).transpose(2, 0, 1)[np.newaxis] / 255
    (found,) = session.run(None, {"input_1": picture})
    mask = found.reshape(256, 256)
    np.testing.assert_allclose(mask.reshape(8, 32, 8, 32).mean((1, 3)), MEANS, atol=5e-4)
    np.testing.assert_allclose(mask[160:162, 11:19], EDGE, atol=5e-4)


def test_absent_files_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for weights in ALL:
        assert local(weights) is None
        assert "conformance.selftest.fetch" in how_to_enable(weights)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        verify(U2NETP.name, b"not the weights", U2NETP.sha256)
