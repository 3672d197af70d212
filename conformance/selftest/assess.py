"""Holds a model to its track without pytest in between."""

from pathlib import Path

import onnx
from onnx import ModelProto

from conformance.contract.assessment import assessment_of
from conformance.rulebook import Verdict
from conformance.selftest.models import write
from conformance.subject import opened
from conformance.submission.opening import open_submission
from reference.tracks import Track


def assess(track: Track, specs: list[str], folder: Path) -> dict[str, Verdict]:
    """The verdict of every rule, in the order in which the suite asks them."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    submission = open_submission(track, specs, scratch)
    own = assessment_of(opened(track, submission), scratch)
    return {rule.id: own.verdict(rule) for rule in own.rules}


def assess_models(track: Track, models: dict[str, ModelProto], folder: Path) -> dict[str, Verdict]:
    """The same for models in memory; parts that are not given are the conforming ones."""
    paths = write(track, folder)
    for part, model in models.items():
        onnx.save(model, paths[part])
    return assess(track, [f"{part}={path}" for part, path in paths.items()], folder)


def broken(verdicts: dict[str, Verdict]) -> set[str]:
    """The rules that failed."""
    return {rule for rule, verdict in verdicts.items() if verdict.outcome == "fail"}
