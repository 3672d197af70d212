"""The scores beside what they cannot do without, or beside the organisers' way, on one core.

`OPENBLAS_NUM_THREADS=1 pytest benchmarks/test_metrics.py --benchmark-only` prints each pair in one
table; the ratio stands in brackets. Take the minima. The pictures are synthetic.

Peers that are not installed are left out: scipy, torchmetrics, faiss-cpu.

Targets: the F-score of a 640x480 image in 60 ms, and its peer, which is one thousandth of the brute
force, at least twice that; a mask pair in 1.3 times the time of reading both; Recall@10 in 1.25
times its product.
"""

import os
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from reference.depth.metric import score as depth_score
from reference.depth.nearest import count_near
from reference.pidnet.metric import CLASSES, Confusion
from reference.retrieval.metric import recall_at_10
from reference.segmentation.metric import score as mask_score
from reference.tests import plain_metrics as plain

SHARE = 1000
TRUTHS = 8
IMAGES, TEXTS, WIDTH = 2000, 20_000, 512

Arrays = tuple[np.ndarray, ...]


def repeat(benchmark: BenchmarkFixture, call: Callable[[], Any], rounds: int) -> Any:
    return benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)


@njit
def brute_force(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The organisers' extension: every pair, the nearest kept, float32."""
    found = np.empty(len(points), np.float32)
    for j in range(len(points)):
        x, y, z = points[j]
        best = np.float64(0)
        for k in range(len(others)):
            dx, dy, dz = others[k, 0] - x, others[k, 1] - y, others[k, 2] - z
            d = np.float64((dx * dx + dy * dy) + dz * dz)
            if k == 0 or d < best:
                best = d
        found[j] = best
    return np.sqrt(found)


@njit
def read(a: np.ndarray, b: np.ndarray) -> int:
    """Looks at each number of both, as fast as memory gives them."""
    seen = np.uint32(0)
    for i in range(len(a)):
        seen |= a[i]
    for i in range(len(b)):
        seen |= b[i]
    return seen


def room(kind: str) -> Arrays:
    """A room up to four metres deep with boxes, all confident, and a prediction of it."""
    random = np.random.default_rng(0)
    v, u = np.mgrid[0:192, 0:256] / np.array([192, 256])[:, None, None]
    depth = np.minimum(
        np.minimum(4, 1.4 / np.maximum(v, 0.12)), 1.6 / np.maximum(abs(u - 0.5), 0.15)
    )
    for y, x, half, near in random.random((12, 4)) * (1, 1, 0.15, 3) + (0, 0, 0.05, 0.8):
        box = (abs(v - y) < half) & (abs(u - x) < half)
        depth = np.where(box, np.minimum(depth, near), depth)
    depth *= 1 + random.normal(0, 0.004, depth.shape)
    full = np.array(Image.fromarray(depth.astype(np.float32)).resize((640, 480)))
    rows, columns = np.mgrid[0:480, 0:640] / 640
    if kind == "noisy":
        return noisy(depth, full, random)
    guess = {
        "good": full * (1 + 0.03 * np.sin(7 * columns + 3 * rows)),
        "fair": full * (1 + 0.15 * np.sin(7 * columns + 3 * rows))
        + random.normal(0, 0.02, full.shape),
        "ramp": 1 + columns,
    }[kind]
    truth = np.rint(depth * 1000).astype(np.uint16)
    return guess.astype(np.float32)[None, None], truth, np.full(truth.shape, 2, np.uint8)


def noisy(depth: np.ndarray, full: np.ndarray, random: np.random.Generator) -> Arrays:
    """A hall of 30 metres, truth and prediction off by decimetres a pixel: nearly every point is
    alone."""
    far = 30 / depth.max()
    truth = np.maximum(depth * far + random.normal(0, 0.3, depth.shape), 0.1)
    guess = full * far + random.normal(0, 0.3, full.shape)
    millimetres = np.rint(truth * 1000).astype(np.uint16)
    return guess.astype(np.float32)[None, None], millimetres, np.full(truth.shape, 2, np.uint8)


def clouds(kind: str = "fair") -> Arrays:
    """The prediction and the truth of a room as points."""
    prediction, truth, _ = room(kind)
    depth = prediction[0, 0]
    metres = np.array(Image.fromarray(truth.astype(np.float32) / 1000).resize((640, 480), 0))
    depth = depth * (np.median(metres) / np.median(depth))
    lines = plain.rays(480, 640)
    return tuple(np.ascontiguousarray((lines * d.ravel()).T) for d in (depth, metres))


@pytest.mark.benchmark(group="F-score, 640x480, against a thousandth of the brute force")
def test_peer_a_thousandth_of_the_brute_force(benchmark: BenchmarkFixture) -> None:
    """Every thousandth point of each cloud against the whole other cloud: times 1000 is a guess
    at the whole, which takes minutes, and a good one, for each point costs the same."""
    a, b = clouds()
    few_a, few_b = np.ascontiguousarray(a[::SHARE]), np.ascontiguousarray(b[::SHARE])
    near = repeat(benchmark, lambda: (brute_force(few_a, b), brute_force(few_b, a)), 5)
    for cloud, found in zip(count_near(a, b), near, strict=True):
        assert abs(cloud / len(a) - np.mean(found < np.float32(0.1))) < 0.1
    if benchmark.stats is not None:
        benchmark.extra_info["whole image, extrapolated, s"] = benchmark.stats["min"] * SHARE


@pytest.mark.benchmark(group="F-score, 640x480, against a thousandth of the brute force")
@pytest.mark.parametrize("kind", ["good", "fair", "ramp", "noisy"])
def test_depth_score(benchmark: BenchmarkFixture, kind: str) -> None:
    """All ten columns, from the arrays as a model and a PNG give them."""
    arrays = room(kind)
    found = repeat(benchmark, lambda: depth_score(*arrays), 20)
    assert 0 < found.f_score < 100


@pytest.mark.parametrize("kind", ["fair", "noisy"])
def test_peer_scipys_tree(benchmark: BenchmarkFixture, kind: str) -> None:
    """Two k-d trees in float64 and the nearest within the distance: a part of the score."""
    tree = pytest.importorskip("scipy.spatial").cKDTree
    benchmark.group = f"points with another near, {kind}"
    a, b = (cloud.astype(np.float64) for cloud in clouds(kind))

    def near(points: np.ndarray, others: np.ndarray) -> int:
        distances, _ = tree(others).query(points, distance_upper_bound=0.1)
        return np.count_nonzero(distances < 0.1)

    found = repeat(benchmark, lambda: (near(a, b), near(b, a)), 1)
    assert np.allclose(found, count_near(*clouds(kind)), atol=20)


@pytest.mark.parametrize("kind", ["fair", "noisy"])
def test_count_near(benchmark: BenchmarkFixture, kind: str) -> None:
    benchmark.group = f"points with another near, {kind}"
    a, b = clouds(kind)
    repeat(benchmark, lambda: count_near(a, b), 10)


def masks() -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(0)
    prediction = (random.random((1024, 1024)) > 0.5).astype(np.float32)
    return prediction, [random.integers(0, 2, (1024, 1024), np.uint8) for _ in range(TRUTHS)]


@pytest.mark.benchmark(group="IoU, 1024x1024, one pair")
def test_peer_reading_both_masks(benchmark: BenchmarkFixture) -> None:
    prediction, (truth, *_) = masks()
    a, b = prediction.ravel().view(np.uint32), truth.ravel().view(np.uint32)
    repeat(benchmark, lambda: read(a, b), 300)


@pytest.mark.benchmark(group="IoU, 1024x1024, one pair")
def test_peer_evaluator_on_one_pair(benchmark: BenchmarkFixture) -> None:
    prediction, (truth, *_) = masks()
    repeat(benchmark, lambda: plain.iou(prediction, truth), 50)


@pytest.mark.benchmark(group="IoU, 1024x1024, one pair")
def test_peer_torchmetrics_on_one_pair(benchmark: BenchmarkFixture) -> None:
    import torch

    jaccard = pytest.importorskip("torchmetrics.functional").jaccard_index
    torch.set_num_threads(1)
    prediction, (truth, *_) = masks()
    sides = torch.from_numpy(prediction), torch.from_numpy(truth)
    found = repeat(benchmark, lambda: jaccard(*sides, task="binary"), 20)
    assert abs(float(found) - plain.iou(prediction, truth)) < 1e-5


@pytest.mark.benchmark(group="IoU, 1024x1024, one pair")
def test_mask_score(benchmark: BenchmarkFixture) -> None:
    prediction, (truth, *_) = masks()
    found = repeat(benchmark, lambda: mask_score(prediction, truth), 300)
    assert found.iou == plain.iou(prediction, truth)


@pytest.mark.benchmark(group="IoU, 1024x1024, one prediction and eight truths")
def test_peer_evaluator_on_eight_truths(benchmark: BenchmarkFixture) -> None:
    prediction, truths = masks()
    repeat(benchmark, lambda: [plain.iou(prediction, truth) for truth in truths], 20)


@pytest.mark.benchmark(group="IoU, 1024x1024, one prediction and eight truths")
def test_mask_score_of_eight_truths(benchmark: BenchmarkFixture) -> None:
    prediction, truths = masks()
    found = repeat(benchmark, lambda: [mask_score(prediction, t).iou for t in truths], 100)
    assert found == [plain.iou(prediction, truth) for truth in truths]


def embeddings() -> Arrays:
    random = np.random.default_rng(0)
    return tuple(random.standard_normal((n, WIDTH)).astype(np.float32) for n in (IMAGES, TEXTS))


@pytest.fixture
def one_core() -> None:
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        pytest.skip("numpy would use every core; set OPENBLAS_NUM_THREADS=1")


@pytest.mark.benchmark(group="Recall@10, 2,000 x 20,000 x 512")
@pytest.mark.usefixtures("one_core")
def test_peer_product_alone(benchmark: BenchmarkFixture) -> None:
    images, texts = embeddings()
    assert repeat(benchmark, lambda: images @ texts.T, 7).shape == (IMAGES, TEXTS)


@pytest.mark.benchmark(group="Recall@10, 2,000 x 20,000 x 512")
@pytest.mark.usefixtures("one_core")
def test_peer_evaluator_on_embeddings(benchmark: BenchmarkFixture) -> None:
    images, texts = embeddings()
    truth = [[i] for i in range(IMAGES)]
    repeat(benchmark, lambda: plain.recall_at_10(images, texts, truth, range(TEXTS)), 1)


@pytest.mark.benchmark(group="Recall@10, 2,000 x 20,000 x 512")
@pytest.mark.usefixtures("one_core")
def test_peer_faiss(benchmark: BenchmarkFixture) -> None:
    """The ten nearest of each by a flat index, without the rest of the score."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    images, texts = embeddings()

    def nearest() -> np.ndarray:
        index = faiss.IndexFlatIP(WIDTH)
        index.add(texts)
        return index.search(images, 10)[1]

    assert repeat(benchmark, nearest, 3).shape == (IMAGES, 10)


@pytest.mark.benchmark(group="Recall@10, 2,000 x 20,000 x 512")
@pytest.mark.usefixtures("one_core")
def test_recall_at_10(benchmark: BenchmarkFixture) -> None:
    images, texts = embeddings()
    truth = [[i] for i in range(IMAGES)]
    repeat(benchmark, lambda: recall_at_10(images, texts, truth), 7)
    tracemalloc.start()
    recall_at_10(images, texts, truth)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    benchmark.extra_info["peak MB beside the embeddings"] = peak / 1e6
    assert peak < 1.3e8, "the whole matrix alone is 160 MB"


@pytest.mark.benchmark(group="Cityscapes picture, 2048x1024")
def test_peer_torch_upsampling(benchmark: BenchmarkFixture) -> None:
    import torch

    torch.set_num_threads(1)
    logits = torch.randn(1, CLASSES, 128, 256)
    resize = torch.nn.functional.interpolate
    repeat(benchmark, lambda: resize(logits, (1024, 2048), mode="bilinear").argmax(1), 3)


@pytest.mark.benchmark(group="Cityscapes picture, 2048x1024")
def test_confusion(benchmark: BenchmarkFixture) -> None:
    """Upsampling, choosing the class and counting."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((1, CLASSES, 128, 256)).astype(np.float32)
    truth = random.integers(0, CLASSES, (1024, 2048)).astype(np.uint8)
    repeat(benchmark, lambda: Confusion().add(logits, truth), 5)
