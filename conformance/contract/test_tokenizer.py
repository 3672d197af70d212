"""The tokenizer that feeds the text models, held to recorded ids of the documents' tokenizer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.items import NOTHING
from conformance.suite import chosen_tracks
from reference.data import fixture
from reference.tokenizer import decode
from reference.tracks import Track

pytestmark = pytest.mark.contract

CONTEXT, PADDING = 77, 49407
# Rules pages of both text tracks, section 4.5; erratum E1: not the ids of the text beside them.
DOCUMENTED_DOG = [49406, 2308, 1774, 15762, 269, 49407]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item for each of the chosen tracks that feed a text."""
    chosen = chosen_tracks(metafunc.config.getoption("track") or ())
    tracks = [track for track in chosen if any(part.text for part in track.parts)]
    ids = [track.id for track in tracks]
    metafunc.parametrize("text_track", tracks or NOTHING, ids=ids or ["none"])


def text_input(track: Track, text: str) -> np.ndarray[Any, Any]:
    """What the track feeds for a text, one row for the ids and perhaps one for the mask."""
    return track.room("inputs").prepare_text(text).reshape(-1, CONTEXT)


def goldens() -> dict[str, list[int]]:
    """Texts and their ids without padding, recorded from transformers' CLIPTokenizer."""
    return json.loads(Path(fixture("clip/goldens.json")).read_text(encoding="utf-8"))


def test_the_documented_text(text_track: Track) -> None:
    """E1: "dog." has the documented mask and other ids than the documented ones."""
    rows = text_input(text_track, "dog.")
    assert rows[0].tolist() == [49406, 1929, 269, 49407] + [PADDING] * 73
    if len(rows) == 2:
        assert rows[1].tolist() == [1, 1, 1, 1] + [0] * 73
    assert decode(DOCUMENTED_DOG) == "woman body surfing ."


def test_recorded_texts(text_track: Track) -> None:
    for text, ids in goldens().items():
        rows = text_input(text_track, text)
        assert rows.dtype == np.int32
        assert rows[0].tolist() == ids + [PADDING] * (CONTEXT - len(ids)), text
        if len(rows) == 2:
            assert rows[1].tolist() == [1] * len(ids) + [0] * (CONTEXT - len(ids)), text
