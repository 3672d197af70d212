"""Opens what the participant brings as the parts of a track."""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from conformance.submission.files import called, made, models_in
from conformance.submission.foreign import mode_of, no_file, not_a_file, unreadable
from conformance.submission.graph import Graph, read_graph
from conformance.submission.model import Model, Submission
from conformance.submission.parts import Takes, part_of, takes
from reference.errors import SubmissionError, one_line
from reference.process import Limits
from reference.tracks import Part, Track


def open_submission(
    track: Track,
    specs: Sequence[str],
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Submission:
    """The submission that `specs` (`PATH` or `PART=PATH`) name.

    Of two parts each may be named, or they are told apart by what they take: two files, or a folder
    or zip with both. A TFLite file may come with what it was made of, a second model of that part.
    Zip files are unpacked into `scratch`, and a float model with AIMET's
    encodings is quantised there, in a child process with `limits`; nothing else is written. Raises
    SubmissionError for everything that cannot be a submission to `track`.
    """
    if track.has("package"):
        return _open_package(track, specs, scratch, limits)
    split = [split_spec(track, spec) for spec in specs]
    models: dict[str, Model] = {}
    originals: dict[str, Model] = {}
    for part, target in sorted(split, key=lambda pair: not pair[0]):  # those named first
        for model in open_models(track, part, target, scratch, limits, tuple(models)):
            first = models.get(model.part)
            if first is not None and (first.format == "tflite") != (model.format == "tflite"):
                made, source = (first, model) if first.format == "tflite" else (model, first)
                models[model.part], originals[model.part] = made, source
                continue
            if first is not None:
                raise _twice(track, first, model, named=bool(part))
            models[model.part] = model
    missing = [part.name for part in track.parts if part.name not in models]
    if missing:
        raise SubmissionError(
            f"{track.id} needs {len(track.parts)} models and {', '.join(missing)} is missing",
            f"give {_by_part(track)}",
        )
    if all(part for part, _ in split):
        _refuse_swapped(track, dict(split), models, limits)
    label = " ".join(Path(target).name or target for _, target in split)
    own = {part.name: models[part.name] for part in track.parts}
    return Submission(one_line(label), own, originals)


def _open_package(track: Track, specs: Sequence[str], scratch: Path, limits: Limits) -> Submission:
    if len(specs) > 1:
        raise SubmissionError(
            f"{track.id} takes one package and {len(specs)} are given", "give the one that is meant"
        )
    path = Path(specs[0])
    mode = mode_of(specs[0])
    if mode is None:
        raise no_file(specs[0])
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise not_a_file(path, mode)
    try:
        package = track.room("package").open_package(path.resolve(), made(scratch), limits)
    except OSError as error:
        raise unreadable(specs[0], error) from None
    return Submission(one_line(called(specs[0])), {}, package=package)


def open_models(
    track: Track,
    part: str,
    target: str,
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    taken: Sequence[str] = (),
) -> list[Model]:
    """The models that `target`, a path or `module:factory`, holds, each as a part of `track`.

    All as `part`, or where that is empty as the part that takes what they take; a model that is
    not ONNX is then the one that is not `taken`. Raises SubmissionError as `open_submission` does.
    """
    return as_parts(track, part, target, models_in(target, scratch, limits), limits, taken)


def as_parts(
    track: Track,
    part: str,
    target: str,
    found: Sequence[Model],
    limits: Limits,
    taken: Sequence[str] = (),
) -> list[Model]:
    """The models `found` in `target` as parts of `track`, as `open_models` gives them."""
    if part or len(track.parts) == 1:
        name = part or track.parts[0].name
        own = found
        if len(found) > 1 and len(track.parts) > 1:
            own = [each for each in found if _taken_for(track, each, limits) == part] or found
        if len(own) > 1:
            names = ", ".join(each.path.name for each in own)
            raise SubmissionError(
                f"{called(target)} holds {len(own)} .onnx files, {names}, and"
                f" {part or track.id} is one",
                "give the one that is meant, or keep it and its external data alone there",
            )
        return [replace(own[0], part=name)]
    return [replace(each, part=_part_of(track, each, limits, taken)) for each in found]


def split_spec(track: Track, spec: str) -> tuple[str, str]:
    """(the part that a specification names, or nothing, and its target)"""
    names = [part.name for part in track.parts]
    part, separator, target = spec.partition("=")
    if separator and part in names:
        return part, target
    if separator and part.isidentifier() and not os.path.exists(spec):
        raise SubmissionError(
            f"{track.id} has no part {part!r}", f"its parts are: {', '.join(names)}"
        )
    return "", spec


def _part_of(track: Track, model: Model, limits: Limits, taken: Sequence[str]) -> str:
    """The part of a track of two that a model is which nobody named."""
    if model.torch:
        left = [part.name for part in track.parts if part.name not in taken]
        if len(left) == 1:
            return left[0]
        raise SubmissionError(
            f"{track.id} takes {len(track.parts)} models and {model.path.name!r} does not say"
            " which it is",
            f"name it: {_by_part(track)}",
        )
    return told_part(track, read_graph(model.path, limits)).name


def told_part(track: Track, graph: Graph) -> Part:
    """The part that takes what `graph` takes; raises SubmissionError where that does not say it."""
    part = part_of(track, graph)
    if part is not None:
        return part
    inputs = ", ".join(value.label for value in graph.inputs) or "nothing"
    if takes(graph) == Takes.PICTURE | Takes.TEXT:
        raise SubmissionError(
            f"{graph.path.name} takes a picture and a text, {inputs}: both encoders in one file",
            f"export each to a file of its own: {_by_part(track)}",
        )
    raise SubmissionError(
        f"{graph.path.name} takes {inputs}, which does not say which part of {track.id} it is",
        f"name it: {_by_part(track)}",
    )


def _taken_for(track: Track, model: Model, limits: Limits) -> str:
    """The part that a model looks like, empty where it looks like none or is PyTorch."""
    fitting = None if model.torch else part_of(track, read_graph(model.path, limits))
    return fitting.name if fitting is not None else ""


def _refuse_swapped(
    track: Track, targets: dict[str, str], models: dict[str, Model], limits: Limits
) -> None:
    """Raises SubmissionError where each of two named models is the other part."""
    if len(models) < 2:
        return
    looks = {part: _taken_for(track, model, limits) for part, model in models.items()}
    if set(looks.values()) == set(looks) and all(part != own for part, own in looks.items()):
        right = " ".join(f"{own}={targets[part]}" for part, own in looks.items())
        raise SubmissionError(f"{' and '.join(looks)} are swapped", f"give {right}")


def _twice(track: Track, first: Model, second: Model, *, named: bool) -> SubmissionError:
    if named:
        return SubmissionError(
            f"the part {first.part!r} of {track.id} is given twice", "give every part once"
        )
    both = f"{first.path.name} and {second.path.name}"
    if len(track.parts) == 1:
        return SubmissionError(
            f"{track.id} takes one model and two are given, {both}", "give the one that is meant"
        )
    kind = "picture" if track.part(first.part).image else "text"
    return SubmissionError(f"{both} both take a {kind}", f"name each: {_by_part(track)}")


def _by_part(track: Track) -> str:
    return " ".join(f"{part.name}=FILE" for part in track.parts)
