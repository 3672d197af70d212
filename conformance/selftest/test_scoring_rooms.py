"""What scoring asks of a track's rooms and does not find, and the sheets that these draw."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numba.core.event import trigger_event

from conformance.scoring.engines import local
from conformance.scoring.pictures import sheet_of
from conformance.scoring.score import Options, _Rate, score_submission
from conformance.selftest.models import write
from reference.data import fixture
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.kernels import kernel
from reference.pictures import Drawing, Rank
from reference.process import Limits
from reference.tracks import Track


@kernel
def idle() -> int:
    return 0


@kernel
def called() -> int:
    return 1


def test_what_numba_compiles_is_told_instead_of_a_rate() -> None:
    told: list[str] = []
    rate = _Rate(cast(Any, told.append), "scoring x", 10, 8)
    with (
        trigger_event("numba:compile", data={"dispatcher": idle}),
        trigger_event("numba:compile", data={"dispatcher": called}),
    ):
        rate.tick(0.5)
    rate.tick(0.5)
    assert told == [
        "scoring x: 2/10, numba compiles idle, once on this machine",
        "scoring x: 2/10",
    ]


def refused(track: Track, folder: Path) -> str:
    """What is said of a score with pictures, before anything is run or written."""
    model = write(DEPTH_2025, folder)["model"]
    places = (folder / "r.sqlite", folder / "worst", None, None)
    options = Options("ort", track.device, local, 1, Limits(), *places)
    with pytest.raises(SubmissionError) as error:
        score_submission(track, fixture("samples/depth"), [f"model={model}"], options)
    assert [*folder.iterdir()] == [model]
    return str(error.value)


@pytest.mark.parametrize(
    ("without", "told"),
    [
        ("metric", "depth-2025 has no official score; a track that is a package has one in "),
        ("dataset", "depth-2025 has no data set that can be read; a track that is a package "),
        ("pictures", "depth-2025 has no pictures of answers; a track that is a package has "),
    ],
)
def test_a_room_that_is_not_there_is_one_line(without: str, told: str, tmp_path: Path) -> None:
    kept = [room for room in ("inputs", "metric", "dataset", "pictures") if room != without]
    rooms = tuple((room, f"reference.depth.{room}") for room in kept)
    assert refused(replace(DEPTH_2025, home="", rooms=rooms), tmp_path).startswith(told)


def test_pictures_that_a_track_does_not_draw(tmp_path: Path) -> None:
    """Depth with the pictures of embeddings."""
    track = replace(DEPTH_2025, rooms=(("pictures", "reference.retrieval.pictures"),))
    told = "reference.retrieval.pictures has no answer(); write it"
    assert refused(track, tmp_path).startswith(told)


def test_a_sheet_takes_any_text_and_shape() -> None:
    """Those of a data set may have several lines, or none of the font's letters."""
    text = "two\nlines, \N{WATERMELON} " * 50
    for shape in ((1, 3000, 3), (3000, 1, 3), (40, 60, 3)):
        photo = np.full(shape, 200, np.uint8)
        drawing = Drawing((photo,), "", legend=(("#ff0000", text),), ranking=(Rank("1", text),))
        sheet = sheet_of(text, [("picture", Drawing((photo,), "")), (text, drawing)])
        pixels = np.asarray(sheet)
        assert sheet.width <= 3 * 480 + 4 * 6
        assert (pixels == (200, 200, 200)).all(axis=2).any()
        assert (pixels[:, -6:] == 255).all(), "nothing runs over the edge"
