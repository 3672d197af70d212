"""Opening pictures: against cv2.imread and Image.open, and with everything that is no picture."""

import io
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reference.data import fixture
from reference.errors import SubmissionError
from reference.images import open_opencv, open_pillow, to_tensor

REPEATABLE = settings(derandomize=True, deadline=None, database=None)
PHOTOS = ["astronaut.png", "rocket.jpg", "chelsea.png", "coffee.png"]
ORIENTATION = 0x0112

# What each EXIF orientation asks a viewer to do with the stored pixels.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}

# Every kind of file that both libraries open: suffix, mode saved.
KINDS = [
    ("png", "RGB"),
    ("png", "L"),
    ("png", "1"),
    ("png", "P"),
    ("png", "LA"),
    ("png", "RGBA"),
    ("png", "I;16"),
    ("jpg", "RGB"),
    ("jpg", "L"),
    ("jpg", "CMYK"),
    ("bmp", "RGB"),
    ("webp", "RGB"),
    ("webp", "RGBA"),
    ("tif", "RGB"),
    ("tif", "CMYK"),
    ("ppm", "RGB"),
]


def noise(height, width, channels=3, seed=0):
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(folder, suffix, mode, pixels):
    picture = Image.fromarray(pixels, "RGBA")
    if mode == "P":
        picture = picture.convert("RGB").quantize(16)
    elif mode == "I;16":
        picture = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 256 + pixels[:, :, 1])
    elif mode in ("LA", "RGBA"):
        picture = picture.convert(mode)
    else:
        picture = picture.convert("RGB").convert(mode)
    path = folder / f"picture.{suffix}"
    picture.save(path)
    return path


def as_cv2(path):
    return cv2.imread(str(path))[:, :, ::-1]


def as_pillow(path):
    return np.array(Image.open(path).convert("RGB"))


def opened_or_refused(opener, path):
    """The pixels, or None for a SubmissionError; anything else that is raised fails the test."""
    try:
        pixels = np.asarray(opener(path))
    except SubmissionError:
        return None
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    return pixels


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_open_as_the_libraries_open_them(name):
    path = fixture(f"photos/{name}")
    np.testing.assert_array_equal(open_opencv(path), as_cv2(path))
    np.testing.assert_array_equal(np.asarray(open_pillow(path)), as_pillow(path))


@pytest.mark.parametrize(("suffix", "mode"), KINDS)
def test_every_kind_of_file_opens_as_the_libraries_open_it(suffix, mode, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")

    @settings(REPEATABLE, max_examples=15)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
    def check(height, width, seed):
        path = write(folder, suffix, mode, noise(height, width, 4, seed))
        pixels, picture = open_opencv(path), open_pillow(path)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (height, width, 3))
        assert (picture.mode, picture.size) == ("RGB", (width, height))
        np.testing.assert_array_equal(pixels, as_cv2(path))
        np.testing.assert_array_equal(np.asarray(picture), as_pillow(path))

    check()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_rgb_comes_back_in_rgb_order(suffix, tmp_path):
    pixels = noise(5, 7)
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(open_opencv(path), pixels)
    np.testing.assert_array_equal(np.asarray(open_pillow(path)), pixels)


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = noise(6, 4, 4)
    pixels[:, :, 3] = 0
    path = tmp_path / "glass.png"
    Image.fromarray(pixels, "RGBA").save(path)
    np.testing.assert_array_equal(open_opencv(path), pixels[:, :, :3])
    np.testing.assert_array_equal(np.asarray(open_pillow(path)), pixels[:, :, :3])


def test_16_bit_grey_saturates_in_pillow_and_is_scaled_by_opencv(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 255, 256, 32768, 65535]], np.uint16)).save(path)
    np.testing.assert_array_equal(open_opencv(path)[0, :, 0], [0, 0, 1, 128, 255])
    assert open_pillow(path).getpixel((2, 0)) == open_pillow(path).getpixel((4, 0))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_opencv_turns_by_exif_orientation_and_pillow_does_not(suffix, orientation, tmp_path):
    picture = Image.open(fixture("photos/rocket.jpg")).resize((80, 53))
    plain, turned = tmp_path / f"plain.{suffix}", tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.save(plain)
    picture.save(turned, exif=exif)

    np.testing.assert_array_equal(open_opencv(turned), UPRIGHT[orientation](open_opencv(plain)))
    np.testing.assert_array_equal(np.asarray(open_pillow(turned)), np.asarray(open_pillow(plain)))
    assert open_opencv(turned).shape == ((80, 53, 3) if orientation > 4 else (53, 80, 3))


def test_pictures_and_arrays_are_pixels_already_for_both_ways(tmp_path):
    pixels = noise(9, 5)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(pixels).save(path, exif=exif)
    for source in (pixels, pixels[::-1][::-1], Image.fromarray(pixels), Image.open(path)):
        np.testing.assert_array_equal(open_opencv(source), pixels)
        np.testing.assert_array_equal(np.asarray(open_pillow(source)), pixels)


def test_what_is_opened_is_apart_from_its_source():
    pixels = noise(3, 3)
    before = pixels.copy()
    open_opencv(pixels)[:] = 0
    open_pillow(pixels).paste((0, 0, 0), (0, 0, 3, 3))
    picture = Image.fromarray(before)
    open_opencv(picture)[:] = 0
    open_pillow(picture).paste((0, 0, 0), (0, 0, 3, 3))
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(np.asarray(picture), before)


def test_paths_are_strings_or_path_likes(tmp_path):
    class Elsewhere:
        def __fspath__(self):
            return str(fixture("photos/chelsea.png"))

    expected = as_cv2(fixture("photos/chelsea.png"))
    for source in (str(fixture("photos/chelsea.png")), Elsewhere()):
        np.testing.assert_array_equal(open_opencv(source), expected)
        np.testing.assert_array_equal(np.asarray(open_pillow(source)), expected)
    odd = tmp_path / "ein Bild, mit\nÜmlaut.png"
    Image.fromarray(noise(2, 2)).save(odd)
    assert open_opencv(odd).shape == (2, 2, 3)


def test_to_tensor_puts_channels_first():
    pixels = noise(4, 6)
    tensor = to_tensor(pixels)
    assert (tensor.dtype, tensor.shape) == (np.float32, (1, 3, 4, 6))
    assert tensor.flags.c_contiguous
    assert tensor.flags.writeable
    for y, x, channel in np.ndindex(4, 6, 3):
        assert tensor[0, channel, y, x] == pixels[y, x, channel]
    np.testing.assert_array_equal(to_tensor(Image.fromarray(pixels)), tensor)


@pytest.fixture
def bad_files(tmp_path):
    jpeg = fixture("photos/rocket.jpg").read_bytes()
    png = fixture("photos/chelsea.png").read_bytes()
    (tmp_path / "folder.png").mkdir()
    for name, data in {
        "empty.png": b"",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": png[: len(png) // 2],
        "header.png": png[:20],
        "text.jpg": b"not a picture at all",
        "model.onnx": bytes(range(256)) * 8,
    }.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("opener", [open_opencv, open_pillow])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent.png", "there is no picture file"),
        ("folder.png", "there is no picture file"),
        ("nul\0.png", "there is no picture file"),
        ("empty.png", "is empty"),
        ("half.jpg", "is damaged or truncated"),
        ("half.png", "is damaged or truncated"),
        ("header.png", "is damaged or truncated"),
        ("text.jpg", "is not an image"),
        ("model.onnx", "is not an image"),
    ],
)
def test_a_bad_file_is_one_clear_line(opener, name, says, bad_files):
    with pytest.raises(SubmissionError, match=says) as caught:
        opener(f"{bad_files}/{name}")
    assert name.replace("\0", "\\x00") in caught.value.problem
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_an_unreadable_file_is_one_clear_line(monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    for opener in (open_opencv, open_pillow):
        with pytest.raises(SubmissionError, match=r"cannot read .*coffee\.png'.*Permission denied"):
            opener(fixture("photos/coffee.png"))


def test_a_format_that_only_pillow_knows(tmp_path):
    path = tmp_path / "picture.tga"
    Image.fromarray(noise(3, 4)).save(path)
    assert open_pillow(path).size == (4, 3)
    with pytest.raises(SubmissionError, match=r"OpenCV.*cannot decode .*picture\.tga"):
        open_opencv(path)


def test_a_file_that_opencv_chokes_on_is_one_clear_line(monkeypatch):
    def choke(*_):
        raise cv2.error("OpenCV(5.0.0) a message\nof many lines")

    monkeypatch.setattr(cv2, "imdecode", choke)
    with pytest.raises(SubmissionError, match=r"OpenCV.*cannot decode .*coffee\.png"):
        open_opencv(fixture("photos/coffee.png"))


@pytest.mark.parametrize("opener", [open_opencv, open_pillow])
@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((1, 3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), bool),
        Image.new("RGB", (0, 5)),
        Image.new("L", (5, 0)),
        None,
        3,
        b"picture.png",
        [[0, 0, 0]],
    ],
    ids=lambda source: f"{type(source).__name__} {getattr(source, 'shape', '')}",
)
def test_what_is_no_picture_is_refused(opener, source):
    with pytest.raises(SubmissionError, match=r"picture cannot be|has no pixels"):
        opener(source)


def test_a_picture_whose_file_is_truncated_is_refused(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(fixture("photos/rocket.jpg").read_bytes()[:9000])
    for opener in (open_opencv, open_pillow):
        with Image.open(path) as picture, pytest.raises(SubmissionError, match="truncated"):
            opener(picture)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "RGB"), ("png", "P"), ("bmp", "RGB")])
def test_damage_gives_a_picture_or_the_one_error(suffix, mode, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    whole = write(folder, suffix, mode, noise(30, 20, 4))
    data = whole.read_bytes()
    damaged = folder / f"damaged.{suffix}"

    @settings(REPEATABLE, max_examples=80)
    @given(st.integers(0, len(data) - 1), st.integers(1, 255), st.booleans())
    def check(at, flip, cut):
        damaged.write_bytes(
            data[:at] if cut else data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        )
        for opener in (open_opencv, open_pillow):
            pixels = opened_or_refused(opener, damaged)
            if cut and pixels is not None:
                np.testing.assert_array_equal(pixels, np.asarray(opener(whole)))

    check()


@pytest.mark.filterwarnings("ignore")
@settings(REPEATABLE, max_examples=100)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"])
)
def test_no_bytes_make_it_crash(tmp_path_factory, data, magic):
    path = tmp_path_factory.getbasetemp() / "bytes.bin"
    path.write_bytes(magic + data)
    for opener in (open_opencv, open_pillow):
        opened_or_refused(opener, path)


def test_a_picture_too_large_to_be_honest_is_refused(tmp_path):
    stream = io.BytesIO()
    Image.new("1", (1, 1)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path = tmp_path / "bomb.png"
    path.write_bytes(bytes(data))
    for opener in (open_opencv, open_pillow):
        with pytest.raises(SubmissionError, match="exceeds limit"):
            opener(path)


def test_imports_stay_light():
    script = (
        "import sys, reference.images, reference.segmentation.inputs, reference.retrieval.inputs,"
        "reference.depth.inputs, reference.pidnet.inputs;"
        "print(sorted({'cv2', 'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
