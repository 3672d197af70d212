"""What each track feeds a model, against a second statement of the official code.

The peers are written here with Pillow's paste, cv2's resize, integer arithmetic, and torch's
interpolation, which shares no code with either library.
"""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

import reference.depth.inputs as depth
import reference.pidnet.inputs as pidnet
import reference.retrieval.inputs as retrieval
import reference.segmentation.inputs as segmentation
from reference.data import fixture
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.pidnet.contract import PIDNET
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.segmentation.inputs import letterbox

REPEATABLE = settings(derandomize=True, deadline=None, database=None)
PHOTOS = ["astronaut.png", "rocket.jpg", "chelsea.png", "coffee.png"]

seeds = st.integers(0, 999)
# Odd sizes, thin sizes, and sizes near the limits of both ways of resizing.
sides = st.one_of(
    st.integers(1, 40), st.integers(41, 300), st.sampled_from([499, 500, 640, 1000, 1024, 1025])
)


def photo(name):
    return fixture(f"photos/{name}")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def organisers_peer(path):
    """25LPCVC Track 2 sample solution, prepare_data: one channel at a time, in whole numbers."""
    bgr = cv2.imread(str(path))
    h, w = bgr.shape[:2]
    new_h, new_w = (1024, 1024 * w // h) if h > w else (1024 * h // w, 1024)
    bottom, right = 1024 - new_h, 1024 - new_w
    planes = [
        cv2.copyMakeBorder(
            cv2.resize(bgr[:, :, channel], (new_w, new_h)), 0, bottom, 0, right, 0, value=0
        )
        for channel in (2, 1, 0)
    ]
    return np.stack(planes).astype(np.float32)[None]


def page_size_peer(h, w):
    """Resize(1000, max_size=1024) on whole numbers: the short edge to 1000, then capped."""
    long = 1000 * max(h, w) // min(h, w)
    short, long = (1000, long) if long <= 1024 else (1024 * 1000 // long, 1024)
    return (long, short) if h > w else (short, long)


def page_peer(path):
    """Rules page, section 4.5: Pillow for everything, pasted on a black canvas."""
    picture = Image.open(path).convert("RGB")
    height, width = page_size_peer(picture.height, picture.width)
    canvas = Image.new("RGB", (1024, 1024))
    canvas.paste(picture.resize((width, height), Image.Resampling.BILINEAR), (0, 0))
    return np.moveaxis(np.array(canvas, np.float32), 2, 0)[None]


def levels(planes):
    return (planes + 0.5).floor().clamp(0, 255)


def cv2_resize_peers(pixels, size):
    """uint8 (H, W, 3) to float32 (1, 3, *size) levels: bilinear between four neighbours."""
    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    return [levels(interpolate(planes, size, mode="bilinear")).numpy()]


def pillow_resize_peers(pixels, size, mode="bilinear"):
    """The same, antialiased and rounded after either pass, for both orders of the passes.

    Pillow goes along the rows first; from 12.2 on it may begin with the columns of a tall picture.
    """
    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))

    def passes(*steps):
        resized = planes
        for step in steps:
            resized = levels(interpolate(resized, step, mode=mode, antialias=True))
        return resized.numpy()

    height, width = pixels.shape[:2]
    return [passes((height, size[1]), size), passes((size[0], width), size)]


def assert_close_levels(tensor, peers, on_average):
    """Two levels from a peer at most (a tie in each pass), and far less than that on average."""
    differences = min((np.abs(tensor - peer) for peer in peers), key=np.mean)
    assert differences.max() < 2.01
    assert differences.mean() < on_average


def rgb(name):
    return np.array(Image.open(photo(name)).convert("RGB"))


PREPARED = [
    (SEGMENTATION_2025.part("model").inputs[0], 255, segmentation.prepare_image),
    (
        SEGMENTATION_2025.part("model").inputs[0],
        255,
        lambda source: segmentation.prepare_image(source, "page"),
    ),
    (RETRIEVAL_2026.part("image").inputs[0], 1, retrieval.prepare_image),
    (DEPTH_2025.part("model").inputs[0], 255, depth.prepare_image),
    (PIDNET.part("model").inputs[0], 1, pidnet.prepare_image),
]


@pytest.mark.parametrize(("spec", "high", "prepare"), PREPARED)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_photograph_becomes_what_the_track_states(spec, high, prepare, name):
    tensor = prepare(photo(name))
    assert tensor.shape == spec.shape
    assert tensor.dtype.name == spec.dtypes[0]
    assert tensor.flags.c_contiguous
    assert tensor.min() >= 0
    assert high / 2 < tensor.max() <= high


@pytest.mark.parametrize(("spec", "high", "prepare"), PREPARED)
def test_white_reaches_the_highest_value_exactly_and_channels_stay_rgb(spec, high, prepare):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = 255, 51
    tensor = prepare(pixels)[0, :, :100, :100]
    np.testing.assert_array_equal(np.unique(tensor[0]), [high])
    np.testing.assert_array_equal(np.unique(tensor[1]), [np.float32(51) / np.float32(255 / high)])
    np.testing.assert_array_equal(np.unique(tensor[2]), [0])


@pytest.mark.parametrize(("spec", "high", "prepare"), PREPARED)
def test_a_path_a_picture_and_an_array_give_the_same(spec, high, prepare):
    expected = prepare(photo("coffee.png"))
    np.testing.assert_array_equal(prepare(Image.open(photo("coffee.png"))), expected)
    np.testing.assert_array_equal(prepare(rgb("coffee.png")), expected)


@pytest.mark.parametrize(("spec", "high", "prepare"), PREPARED)
def test_what_cannot_be_opened_is_the_one_error(spec, high, prepare, tmp_path):
    for source in (tmp_path / "absent.png", np.zeros((4, 4, 3)), None):
        with pytest.raises(SubmissionError):
            prepare(source)


# Segmentation


@pytest.mark.parametrize("name", PHOTOS)
def test_segmentation_follows_both_official_pipelines_on_photographs(name):
    path = photo(name)
    np.testing.assert_array_equal(segmentation.prepare_image(path), organisers_peer(path))
    np.testing.assert_array_equal(segmentation.prepare_image(path, "page"), page_peer(path))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_segmentation_follows_both_pipelines_for_modes_and_orientations(
    mode, orientation, tmp_path
):
    suffix = "jpg" if mode in ("L", "CMYK") else "png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"picture.{suffix}"
    Image.open(photo("rocket.jpg")).resize((90, 61)).convert(mode).save(path, exif=exif)
    np.testing.assert_array_equal(segmentation.prepare_image(path), organisers_peer(path))
    np.testing.assert_array_equal(segmentation.prepare_image(path, "page"), page_peer(path))


@settings(REPEATABLE, max_examples=30)
@given(sides, sides, seeds)
def test_segmentation_follows_both_pipelines_for_any_size(tmp_path_factory, height, width, seed):
    assume(1024 * min(height, width) >= max(height, width))
    path = tmp_path_factory.getbasetemp() / "any_size.bmp"
    Image.fromarray(noise(height, width, seed)).save(path)
    np.testing.assert_array_equal(segmentation.prepare_image(path), organisers_peer(path))
    np.testing.assert_array_equal(segmentation.prepare_image(path, "page"), page_peer(path))


@pytest.mark.parametrize("scale", [0.3, 1, 3])
@pytest.mark.parametrize("name", PHOTOS)
def test_segmentation_resizes_as_torch_does(name, scale):
    picture = Image.open(photo(name)).convert("RGB")
    pixels = np.array(picture.resize([round(side * scale) for side in picture.size]))
    for mode, peers, on_average in (
        ("organisers", cv2_resize_peers, 0.2),  # OpenCV weighs with 11 bits
        ("page", pillow_resize_peers, 0.2),
    ):
        size = letterbox(pixels.shape[:2], mode)
        tensor = segmentation.prepare_image(pixels, mode)[:, :, : size[0], : size[1]]
        assert_close_levels(tensor, peers(pixels, size), on_average)


@settings(REPEATABLE, max_examples=300)
@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_letterbox_is_the_official_arithmetic_and_its_crash_is_the_error(h, w):
    official = (1024, int((w / h) * 1024)) if h > w else (int((h / w) * 1024), 1024)
    whole = (1024, 1024 * w // h) if h > w else (1024 * h // w, 1024)
    assert official == whole
    for mode, size in (("organisers", official), ("page", page_size_peer(h, w))):
        if 0 in size:
            with pytest.raises(SubmissionError, match="too thin"):
                letterbox((h, w), mode)
        else:
            assert letterbox((h, w), mode) == size
            assert max(size) == 1024 or mode == "page"
            assert 1 <= min(size) <= max(size) <= 1024


# Worked by hand: source (height, width), then the page's size and the organisers'.
SIZES = [
    ((500, 500), (1000, 1000), (1024, 1024)),  # the short edge is enough
    ((512, 512), (1000, 1000), (1024, 1024)),
    ((1, 1), (1000, 1000), (1024, 1024)),
    ((1024, 1024), (1000, 1000), (1024, 1024)),
    ((1000, 1000), (1000, 1000), (1024, 1024)),
    ((1000, 1024), (1000, 1024), (1000, 1024)),  # 1000 * 1024 / 1000 is 1024: not over
    ((1000, 1025), (999, 1024), (999, 1024)),  # 1025 is: 1024 * 1000 / 1025 = 999.02
    ((490, 500), (1000, 1020), (1003, 1024)),  # 1020.4; 1003.52
    ((480, 640), (768, 1024), (768, 1024)),  # 1333.3, then 1024000 / 1333 = 768.2
    ((640, 480), (1024, 768), (1024, 768)),
    ((427, 640), (683, 1024), (683, 1024)),
    ((333, 500), (682, 1024), (681, 1024)),  # 1501.5, 1024000 / 1501 = 682.2; 681.98
    ((500, 333), (1024, 682), (1024, 681)),
    ((1080, 1920), (576, 1024), (576, 1024)),
    ((1, 1024), (1, 1024), (1, 1024)),
    ((3, 1000), (3, 1024), (3, 1024)),
]


@pytest.mark.parametrize(("source", "page", "organisers"), SIZES)
def test_letterbox_sizes_worked_by_hand(source, page, organisers):
    assert letterbox(source, "page") == page
    assert letterbox(source) == letterbox(source, "organisers") == organisers


@pytest.mark.parametrize("source", [(1, 1025), (1025, 1), (2, 2049), (3, 9000)])
def test_too_thin_a_picture_crashes_both_official_pipelines(source):
    pixels = noise(*source)
    with pytest.raises(cv2.error):
        cv2.resize(pixels, (0, 1024))
    with pytest.raises(ValueError, match="must be > 0"):
        Image.fromarray(pixels).resize((0, 1024))
    assert 0 in page_size_peer(*source)
    for mode in ("organisers", "page"):
        with pytest.raises(SubmissionError, match="0 pixels, and the official pipeline crashes"):
            segmentation.prepare_image(pixels, mode)


def test_letterbox_refuses_no_pixels_and_unknown_modes():
    with pytest.raises(SubmissionError, match="has no pixels"):
        letterbox((0, 5))
    with pytest.raises(SubmissionError, match="unknown mode 'Page'"):
        letterbox((5, 5), "Page")
    with pytest.raises(SubmissionError, match="unknown mode 'Page'"):
        segmentation.prepare_image(noise(5, 5), "Page")


@settings(REPEATABLE, max_examples=40)
@given(sides, sides, st.sampled_from(["organisers", "page"]))
def test_white_fills_the_letterbox_and_nothing_else(height, width, mode):
    assume(1024 * min(height, width) >= max(height, width))
    tensor = segmentation.prepare_image(np.full((height, width, 3), 255, np.uint8), mode)
    rows, columns = letterbox((height, width), mode)
    assert (tensor[:, :, :rows, :columns] == 255).all()
    assert not tensor[:, :, rows:].any()
    assert not tensor[:, :, :, columns:].any()


def test_e3_a_square_picture_has_a_longest_edge_of_1000_on_the_page():
    white = np.full((500, 500, 3), 255, np.uint8)
    page = segmentation.prepare_image(white, "page")[0, 0]
    assert page.sum() == 255 * 1000 * 1000
    assert page[999, 999] == 255
    assert page[1000, 1000] == 0
    assert (segmentation.prepare_image(white) == 255).all()


@settings(REPEATABLE, max_examples=300)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_e3_the_longest_edge_stays_below_1024_only_under_a_ratio_of_1_024(h, w):
    assume(1000 * min(h, w) >= max(h, w))
    below = max(letterbox((h, w), "page")) < 1024
    assert below == (1000 * max(h, w) < 1024 * min(h, w))


@pytest.mark.parametrize("name", ["rocket.jpg", "chelsea.png", "coffee.png"])
def test_e4_enlarged_a_photograph_differs_by_a_level(name):
    differences = np.abs(
        segmentation.prepare_image(photo(name)) - segmentation.prepare_image(photo(name), "page")
    )
    assert differences.max() == 1
    assert 0.05 < (differences > 0).mean() < 0.2


@pytest.mark.parametrize("name", ["rocket.jpg", "coffee.png"])
def test_e4_shrunk_a_photograph_differs_by_many_levels(name):
    picture = Image.open(photo(name)).convert("RGB")
    mosaic = np.tile(np.array(picture), (4, 4, 1))  # 2.5 times the canvas, details kept
    assert letterbox(mosaic.shape[:2]) == letterbox(mosaic.shape[:2], "page")
    organisers = segmentation.prepare_image(mosaic)
    differences = np.abs(organisers - segmentation.prepare_image(mosaic, "page"))
    assert differences.max() > 60
    assert differences.mean() > 1


def test_a_turned_photograph_is_upright_for_the_organisers_alone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "phone.jpg"
    Image.open(photo("rocket.jpg")).save(path, exif=exif)
    organisers, page = segmentation.prepare_image(path), segmentation.prepare_image(path, "page")
    assert not organisers[:, :, :, 683:].any()
    assert organisers[:, :, 683:].any()
    assert not page[:, :, 683:].any()
    assert page[:, :, :, 683:].any()


# Retrieval, depth, PidNet


@pytest.mark.parametrize("name", PHOTOS)
def test_retrieval_is_the_sample_code(name):
    picture = Image.open(photo(name)).convert("RGB").resize((224, 224))
    peer = np.array(picture, dtype=np.float32).transpose(2, 0, 1)[None] / 255.0
    np.testing.assert_array_equal(retrieval.prepare_image(photo(name)), peer)
    peers = pillow_resize_peers(rgb(name), (224, 224), "bicubic")
    assert_close_levels(retrieval.prepare_image(photo(name)) * 255, peers, 0.2)


@settings(REPEATABLE, max_examples=40)
@given(sides, sides, seeds)
def test_every_track_without_padding_stretches_any_size(height, width, seed):
    pixels = noise(height, width, seed)
    for prepare, size, mode, high in (
        (retrieval.prepare_image, (224, 224), "bicubic", 1),
        (depth.prepare_image, (480, 640), "bicubic", 255),
    ):
        tensor = prepare(pixels) * (255 / high)
        assert_close_levels(tensor, pillow_resize_peers(pixels, size, mode), 0.5)


@pytest.mark.parametrize("name", PHOTOS)
def test_depth_and_pidnet_resize_as_torch_does(name):
    peers = pillow_resize_peers(rgb(name), (480, 640), "bicubic")
    assert_close_levels(depth.prepare_image(photo(name)), peers, 0.2)
    peers = pillow_resize_peers(rgb(name), (1024, 2048))
    assert_close_levels(pidnet.prepare_image(photo(name)) * 255, peers, 0.2)


@pytest.mark.parametrize(
    ("prepare", "size", "high"),
    [
        (depth.prepare_image, (480, 640), 255),
        (pidnet.prepare_image, (1024, 2048), 1),
        (retrieval.prepare_image, (224, 224), 1),
    ],
)
def test_a_picture_of_the_right_size_keeps_its_pixels(prepare, size, high):
    pixels = noise(*size)
    tensor = prepare(pixels)
    expected = pixels.astype(np.float32).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(tensor, expected if high == 255 else expected / 255)


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_dividing_by_255_is_the_nearest_float32(level):
    tensor = retrieval.prepare_image(np.full((2, 2, 3), level, np.uint8))
    nearest = np.float32(level / 255)
    assert math.isclose(level / 255, float(nearest), rel_tol=2**-24)
    np.testing.assert_array_equal(np.unique(tensor), [nearest])
