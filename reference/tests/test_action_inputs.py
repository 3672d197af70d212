"""Clips as the official code samples and resizes them."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conformance.selftest.make_clips import CLIPS, write_video
from reference.action.dataset import doubts
from reference.action.inputs import frame_indices, prepare_clip, prepare_image
from reference.action.ncthw.inputs import prepare_image as prepare_ncthw
from reference.action.video import read_frames, timing
from reference.data import fixture
from reference.errors import SubmissionError

SAMPLES = fixture("samples/action")
PHOTO = fixture("photos/coffee.png")


def official_indices(count: int, rate: float) -> list[int]:
    """The edited `VideoClips` of the sample solution, told step by step, with torch's numbers."""
    wanted, total = 4, count * 4 / rate
    if total < 16:
        total, wanted = 16, math.ceil(16 / (count / rate))
    step = rate / wanted
    numbers = torch.arange(count)
    if step.is_integer():
        resampled = numbers[:: int(step)]
    else:
        places = (torch.arange(math.floor(total), dtype=torch.float32) * step).floor()
        resampled = numbers[places.to(torch.int64)]
    windows = resampled.unfold(0, 16, 1)
    return windows[0].tolist()


@pytest.mark.parametrize("rate", [4.0, 8.0, 10.0, 12.0, 24.0, 25.0, 30.0, 30000 / 1001, 59.94, 7.3])
def test_frames_are_those_of_the_official_code(rate: float) -> None:
    for count in (1, 2, 7, 15, 16, 17, 31, 59, 60, 61, 120, 121, 299, 1000):
        assert frame_indices(count, rate) == official_indices(count, rate), (count, rate)


def test_a_short_video_is_read_faster_and_a_tiny_one_repeats_frames() -> None:
    assert frame_indices(24, 12.0) == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22]
    assert frame_indices(8, 4.0) == [k // 2 for k in range(16)]
    assert frame_indices(1, 30.0) == [0] * 16


@pytest.mark.parametrize("key", CLIPS)
def test_pixels_are_those_of_torch(key: str) -> None:
    path = SAMPLES / f"{key}.mp4"
    count, rate, *_ = timing(path)
    assert (count, rate) == CLIPS[key][1:]
    frames = np.stack(read_frames(path, official_indices(count, rate)))
    whole = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    small = F.interpolate(whole, (128, 171), mode="bilinear", align_corners=False, antialias=False)
    wanted = small[:, :, 8:120, 30:142].permute(0, 2, 3, 1).numpy()
    made = prepare_clip(path)
    assert (made.shape, made.dtype) == ((1, 16, 112, 112, 3), np.float32)
    np.testing.assert_allclose(made[0], wanted, atol=4e-6)


def test_one_pixel_worked_out_by_hand() -> None:
    """The pixel (0, 0) of the middle is (8, 30) of 128x171: half-pixel centres, four neighbours."""
    path = SAMPLES / "cross/00000001.mp4"
    (frame,) = read_frames(path, [0])
    y, x = (8 + 0.5) * 120 / 128 - 0.5, (30 + 0.5) * 160 / 171 - 0.5
    top, left = int(y), int(x)
    down, right = y - top, x - left
    (a, b), (c, d) = (frame[top + i, left : left + 2].astype(float) / 255 for i in (0, 1))
    wanted = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
    np.testing.assert_allclose(prepare_clip(path)[0, 0, 0, 0], wanted, atol=4e-6)


def test_channels_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    write_video(tmp_path / "red.mp4", [red] * 16, 4.0)
    means = prepare_image(tmp_path / "red.mp4")[0].mean((0, 1, 2))
    np.testing.assert_allclose(means, (200 / 255, 0, 0), atol=0.03)


def test_a_photograph_becomes_a_pan() -> None:
    clip = prepare_image(PHOTO)
    assert (clip.shape, clip.dtype) == ((1, 16, 112, 112, 3), np.float32)
    assert 0 <= clip.min() < 0.2
    assert 0.8 < clip.max() <= 1
    assert (clip == prepare_image(PHOTO)).all()
    moved = np.abs(np.diff(clip[0], axis=0)).mean((1, 2, 3))
    assert (moved > 0.005).all()


def test_the_other_layout_holds_the_same() -> None:
    first = prepare_ncthw(PHOTO)
    assert first.shape == (1, 3, 16, 112, 112)
    assert first.flags.c_contiguous
    assert (first.transpose(0, 2, 3, 4, 1) == prepare_image(PHOTO)).all()


def test_the_official_tensor_is_taken_as_it_is(tmp_path: Path) -> None:
    saved = prepare_ncthw(PHOTO)
    np.save(tmp_path / "clip.npy", saved)
    assert (prepare_ncthw(tmp_path / "clip.npy") == saved).all()


def truncated(path: Path) -> None:
    whole = (SAMPLES / "cross/00000001.mp4").read_bytes()
    path.write_bytes(whole[:3000])


def eight_frames(path: Path) -> None:
    np.save(path, np.zeros((1, 3, 8, 112, 112), np.float32))


def pickled(path: Path) -> None:
    np.save(path, np.array([{}], object), allow_pickle=True)


BAD = {
    "missing.mp4": (lambda path: None, "there is no video file"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "is empty"),
    "text.mp4": (lambda path: path.write_text("no video"), "no video that can be decoded"),
    "cut.mp4": (truncated, "no video that can be decoded"),
    "eight.npy": (eight_frames, "(1, 3, 8, 112, 112), not float32 (1, 3, 16, 112, 112)"),
    "pickled.npy": (pickled, "is no array"),
    "empty.npy": (lambda path: path.write_bytes(b""), "is no array"),
    "clip.gif": (lambda path: path.write_bytes(b"GIF"), "is not an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_in_a_line(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage, told = BAD[name]
    damage(tmp_path / name)
    with pytest.raises(SubmissionError) as error:
        prepare_image(tmp_path / name)
    assert told in error.value.problem
    assert error.value.remedy
    assert capfd.readouterr().err == ""


def test_a_rotated_video_is_not_turned(tmp_path: Path) -> None:
    """The official code does not either; what it says is told."""
    whole = bytearray((SAMPLES / "cross/00000001.mp4").read_bytes())
    matrix = whole.index(b"tkhd") + 44
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    whole[matrix : matrix + 36] = struct.pack(">9i", *quarter)
    (tmp_path / "turned.mp4").write_bytes(whole)
    assert timing(tmp_path / "turned.mp4").rotation == 90
    (found,) = doubts(tmp_path / "turned.mp4")
    assert "turned by 90 degrees" in found.problem
    assert (
        prepare_clip(tmp_path / "turned.mp4") == prepare_clip(SAMPLES / "cross/00000001.mp4")
    ).all()


def test_a_varying_rate_is_told(tmp_path: Path) -> None:
    """The first half of the frames at the video's rate, the second at a third of it."""
    whole = bytearray((SAMPLES / "cross/00000001.mp4").read_bytes())
    times = whole.index(b"stts")
    entries, count, delta = struct.unpack_from(">3I", whole, times + 8)
    assert entries == 1
    assert not [each for each in doubts(SAMPLES / "cross/00000001.mp4") if "apart" in each.problem]
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        place = whole.index(box) - 4
        struct.pack_into(">I", whole, place, struct.unpack_from(">I", whole, place)[0] + 8)
    half = count // 2
    halves = struct.pack(">5I", 2, half, delta, count - half, 3 * delta)
    whole[times + 8 : times + 20] = halves
    (tmp_path / "varying.mp4").write_bytes(whole)
    shortest, longest = timing(tmp_path / "varying.mp4").gaps
    assert longest == pytest.approx(3 * shortest, rel=0.01)
    (found,) = doubts(tmp_path / "varying.mp4")
    assert f"{shortest:.0f}..{longest:.0f} ms apart" in found.problem
    assert "constant frame rate" in found.remedy
    assert not found.fatal
