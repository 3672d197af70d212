"""One forward pass of the segmentation reference, beside the same sums in the sample's own order.

The peer makes 201 masks at full size before each of its nine layers and resizes them; the reference
resizes the features once. Both on one core; the ratio stands in brackets.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from reference.export import build_reference, example_inputs
from reference.segmentation.contract import SEGMENTATION_2025
from reference.segmentation.model import SAMPLE_RESOLUTION, WINNER_RESOLUTION
from reference.tests import plain_xdecoder as plain

ROUNDS = 3
RESOLUTIONS = (SAMPLE_RESOLUTION, WINNER_RESOLUTION)

Forward = Callable[[], torch.Tensor]


@pytest.fixture(scope="module")
def inputs() -> Iterator[tuple[torch.Tensor, ...]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield example_inputs(SEGMENTATION_2025.parts[0], SEGMENTATION_2025.image_high)
    torch.set_num_threads(threads)


def measure(benchmark: BenchmarkFixture, resolution: int, forward: Forward) -> None:
    benchmark.group = f"X-Decoder at {resolution}, one core"
    with torch.inference_mode():
        mask = benchmark.pedantic(forward, rounds=ROUNDS, warmup_rounds=1)
    assert mask.shape == (1024, 1024)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_peer_order_of_the_sample(
    benchmark: BenchmarkFixture, inputs: tuple[torch.Tensor, ...], resolution: int
) -> None:
    image, text = inputs
    weights = build_reference(SEGMENTATION_2025)["model"].state_dict()

    def forward() -> torch.Tensor:
        return plain.answer(*plain.candidates(weights, image, text[0], resolution))

    measure(benchmark, resolution, forward)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_reference(
    benchmark: BenchmarkFixture, inputs: tuple[torch.Tensor, ...], resolution: int
) -> None:
    model = build_reference(SEGMENTATION_2025, resolution=resolution)["model"]
    measure(benchmark, resolution, lambda: model(*inputs))
