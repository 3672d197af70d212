"""The probes are to the contract, and the ways of looking at answers are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conformance.contract.evidence import Run
from conformance.contract.look import change, describe, distance, first_offence, same, value_range
from conformance.contract.probes import ALIKE, CONSTANTS, PHOTOS, Probe, probes_for
from reference.data import fixture
from reference.depth.contract import DEPTH_2025
from reference.registry import all_tracks
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Part, Track

REPEATABLE = settings(derandomize=True, deadline=None, database=None)
PARTS = [(track, part) for track in all_tracks().values() for part in track.parts]


def run_of(array: np.ndarray, part: Part = DEPTH_2025.parts[0]) -> Run:
    return Run(part, Probe("x", "photo", dict), (array,), 0.0)


@pytest.mark.parametrize(("track", "part"), PARTS, ids=lambda x: getattr(x, "id", None) or x.name)
def test_probes_are_to_the_contract(track: Track, part: Part) -> None:
    probes = probes_for(track, part)
    assert len({probe.name for probe in probes}) == len(probes)
    assert sum(probe.role in ("photo", "text", "constant", "noise") for probe in probes) >= 6
    names = {probe.name for probe in probes}
    for probe in probes:
        assert not probe.of or probe.of in names
        feeds = probe.feeds()
        assert list(feeds) == [tensor.name for tensor in part.inputs]
        for tensor in part.inputs:
            array = feeds[str(tensor.name)]
            assert array.shape == tensor.shape
            assert str(array.dtype) == tensor.dtypes[0]
            if len(tensor.shape) == 4 and probe.contract:
                assert array.min() >= 0
                assert array.max() <= track.image_high


@pytest.mark.parametrize(("track", "part"), PARTS, ids=lambda x: getattr(x, "id", None) or x.name)
def test_probes_are_the_same_each_time(track: Track, part: Part) -> None:
    for one, other in zip(probes_for(track, part), probes_for(track, part), strict=True):
        first, second = one.feeds(), other.feeds()
        assert all(same(first[name], second[name]) for name in first), one.name


def test_variations_differ_in_what_they_say_only() -> None:
    part = SEGMENTATION_2025.parts[0]
    probes = {probe.name: probe for probe in probes_for(SEGMENTATION_2025, part)}
    for probe in probes.values():
        if not probe.of:
            continue
        own, base = probe.feeds(), probes[probe.of].feeds()
        image = same(own["image_input"], base["image_input"])
        text = same(own["text_input"], base["text_input"])
        expected = {
            "repeat": (True, True),
            "rescaled": (False, True),
            "repicture": (False, True),
        }
        assert (image, text) == expected.get(probe.role, (True, False)), probe.name


def test_padding_probe_zeroes_what_follows_the_first_end_of_text() -> None:
    part = SEGMENTATION_2025.parts[0]
    probes = {probe.role: probe for probe in probes_for(SEGMENTATION_2025, part)}
    ids, mask = probes["padding"].feeds()["text_input"][:, 0]
    end = int(np.argmax(ids == 49407))
    assert end == mask.sum() - 1
    assert not ids[end + 1 :].any()
    text = RETRIEVAL_2026.part("text")
    probe = next(p for p in probes_for(RETRIEVAL_2026, text) if p.role == "padding")
    assert not probe.feeds()["text"][0, 8:].any()


def test_long_texts_differ_late_and_once() -> None:
    text = RETRIEVAL_2026.part("text")
    a, b = (p.feeds()["text"][0] for p in probes_for(RETRIEVAL_2026, text) if p.role == "tail")
    assert np.flatnonzero(a != b).tolist() == [69]


@pytest.mark.parametrize(("track", "part"), PARTS, ids=lambda x: getattr(x, "id", None) or x.name)
def test_pictures_are_at_the_scale_of_the_track_or_at_the_other(track: Track, part: Part) -> None:
    if part.image is None:
        return
    probes = {probe.name: probe for probe in probes_for(track, part)}
    name, high = str(part.image.name), track.image_high
    for level, value in (("black", 0), ("white", high), ("grey", high / 2)):
        assert (probes[level].feeds()[name] == np.float32(value)).all()
    rescaled = [probe for probe in probes.values() if probe.role == "rescaled"]
    assert len(rescaled) == 2
    for probe in rescaled:
        own, other = probes[probe.of].feeds()[name], probe.feeds()[name]
        assert high / 2 < own.max() <= high
        np.testing.assert_allclose(other * high, own * (256 - high), rtol=1e-6)


def test_content_is_what_is_not_padding() -> None:
    for probe in probes_for(SEGMENTATION_2025, SEGMENTATION_2025.parts[0]):
        if probe.role == "photo":
            assert probe.content is not None
            height, width = probe.content
            image = probe.feeds()["image_input"][0]
            assert not image[:, height:].any()
            assert not image[:, :, width:].any()
            assert image[:, height - 1].any()
            assert image[:, :, width - 1].any()


@pytest.mark.parametrize(("track", "part"), PARTS, ids=lambda x: getattr(x, "id", None) or x.name)
def test_what_no_evaluator_feeds_comes_last(track: Track, part: Part) -> None:
    contract = [probe.contract for probe in probes_for(track, part)]
    assert contract == sorted(contract, reverse=True)
    roles = {probe.role for probe in probes_for(track, part) if not probe.contract}
    assert roles == ({"rescaled"} if part.image else set()) | ({"padding"} if part.text else set())


@pytest.mark.parametrize(("track", "part"), PARTS, ids=lambda x: getattr(x, "id", None) or x.name)
def test_texts_that_are_compared_have_one_attention_mask(track: Track, part: Part) -> None:
    probes = {probe.name: probe for probe in probes_for(track, part)}
    tails = [probe for probe in probes.values() if probe.role == "tail"]
    again = [probe for probe in probes.values() if probe.role == "retext" and probe.of]
    pairs = [(probes[probe.of], probe) for probe in again] + ([tuple(tails)] if tails else [])
    assert len(pairs) == (0 if part.text is None else 3)
    for one, other in pairs:
        first, second = one.feeds(), other.feeds()
        texts = [fed.pop(str(part.text.name)).reshape(-1, 77) for fed in (first, second)]
        assert all(same(first[name], second[name]) for name in first), "one picture"
        assert ((texts[0] == 49407) == (texts[1] == 49407)).all()
        assert same(texts[0][1:], texts[1][1:]), "the attention mask"
        assert not same(texts[0], texts[1])


def test_there_are_photographs_and_constants() -> None:
    assert len(PHOTOS) >= 3
    assert all(fixture(f"photos/{file}").is_file() for file, _ in PHOTOS.values())
    assert set(CONSTANTS) == {"black", "white", "grey"}
    assert set(ALIKE) <= set(PHOTOS)


floats = hnp.arrays(np.float64, 12, elements=st.floats(-100, 100, width=32))


@REPEATABLE
@given(floats, floats, st.floats(0.5, 50), st.floats(-100, 100))
def test_distance_ignores_scale_and_offset(a, b, scale, offset) -> None:
    if np.std(a) > 1e-3 and np.std(b) > 1e-3:
        expected = 1 - np.corrcoef(a, b)[0, 1]
        assert distance(a, b) == pytest.approx(expected, abs=1e-6)
        assert distance(a * scale + offset, b) == pytest.approx(expected, abs=1e-6)


def test_distance_of_what_cannot_be_compared() -> None:
    ramp, flat = np.arange(4.0), np.ones(4)
    assert distance(flat, flat) == 0
    assert distance(flat, ramp) == 1
    assert np.isnan(distance(ramp, np.array([0, 1, np.nan, 2])))
    assert np.isnan(distance(ramp, np.arange(5.0)))


def test_change_is_a_share_of_the_range_and_of_pixels_for_a_mask() -> None:
    a, b = np.array([0.0, 10.0]), np.array([0.0, 9.0])
    assert change(run_of(a), run_of(b)) == pytest.approx(0.1)
    assert change(run_of(a), run_of(np.arange(3.0))) == np.inf
    mask = SEGMENTATION_2025.parts[0]
    one, other = np.array([0, 1, 1, 0.0]), np.array([0, 1, 0, 0.0])
    assert change(run_of(one, mask), run_of(other, mask)) == 0.25


def test_same_is_to_the_bit() -> None:
    assert same(np.array([np.nan]), np.array([np.nan]))
    assert not same(np.array([0.0]), np.array([-0.0]))
    assert not same(np.zeros(2, np.float32), np.zeros(2, np.float64))


def test_words() -> None:
    array = np.array([[0.5, 2.0], [3.0, -1.0]], np.float32)
    assert describe(array) == "float32 2x2, -1..3"
    assert first_offence(array > 1, array) == "2 of 4 values, first at (0, 1): 2.0"
    assert value_range([run_of(array), run_of(array * 2)]) == "-2..6 over 2 probes"
    assert value_range([run_of(array * np.nan)]) == "no finite value over 1 probes"
