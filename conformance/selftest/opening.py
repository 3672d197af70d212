"""Opens what the working directory holds, as a submission or to be told why it is none."""

from pathlib import Path

import pytest

from conformance.submission.opening import open_submission
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tracks import Track


def opened(*specs: str, track: Track = RETRIEVAL_2026) -> dict[str, str]:
    """The name of the file of each part."""
    found = open_submission(track, specs, Path.cwd() / "scratch")
    assert all(model.path.is_file() for model in found.models.values())
    assert list(found.models) == [part.name for part in track.parts]
    return {part: model.path.name for part, model in found.models.items()}


def refused(*specs: str, track: Track = DEPTH_2025) -> str:
    with pytest.raises(SubmissionError) as told:
        open_submission(track, specs, Path.cwd() / "scratch")
    assert told.value.problem
    assert told.value.remedy
    return str(told.value)
