"""Which part of a track a model is, told by what it takes: a picture, or a text."""

from enum import Flag, auto

from conformance.submission.graph import Graph
from reference.tracks import Part, Shape, Track

_TOKENS = 77  # CLIP's context length


class Takes(Flag):
    """What the inputs of a model are."""

    NEITHER = 0
    PICTURE = auto()
    TEXT = auto()


def part_of(track: Track, graph: Graph) -> Part | None:
    """The part that takes what `graph` takes; None where that is no part's, or not one part's.

    Names do not count. A track of one part has no other.
    """
    if len(track.parts) == 1:
        return track.parts[0]
    found = takes(graph)
    fitting = [part for part in track.parts if _taken_by(part) == found]
    return fitting[0] if len(fitting) == 1 else None


def takes(graph: Graph) -> Takes:
    """A picture is of rank 4, a clip of rank 5, or float of rank 3 with three channels; a text is
    of a lower rank and of integers, or of CLIP's 77 columns.
    """
    found = Takes.NEITHER
    for value in graph.inputs:
        found |= _kind(value.dtype, value.shape)
    return found


def _kind(dtype: str, shape: Shape | None) -> Takes:
    whole = dtype.startswith(("int", "uint"))
    if shape is None:
        return Takes.TEXT if whole else Takes.NEITHER
    rank = len(shape)
    if rank in (4, 5) or (rank == 3 and not whole and 3 in (shape[0], shape[-1])):
        return Takes.PICTURE
    if 0 < rank < 4 and (whole or shape[-1] == _TOKENS):
        return Takes.TEXT
    return Takes.NEITHER


def _taken_by(part: Part) -> Takes:
    picture = Takes.PICTURE if part.image else Takes.NEITHER
    return picture | (Takes.TEXT if part.text else Takes.NEITHER)
