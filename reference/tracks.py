"""What a track is, as data: what it feeds a model, what it expects back, and its rooms.

A track is a package with a `contract` of it and, for what it has beyond that, rooms of fixed names;
each is imported when it is first asked for. Errata (E1, E2, ...) are listed in `docs/errata.md`.
"""

import importlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from reference.errors import SubmissionError

Shape = tuple[int | None, ...]
# Of an input: an RGB picture or a clip of several, or CLIP's token ids. Of an output: a mask of
# exactly 0 and 1, a vector that is compared in direction, a relative depth map, or scores of
# classes. Empty: numbers.
Kind = Literal["picture", "text", "binary", "embedding", "depth", "logits", ""]
Room = Literal[
    "inputs", "model", "metric", "dataset", "agreement", "pictures", "package", "answers"
]
ROOMS: dict[Room, str] = {
    "inputs": "preparation of pictures and texts",
    "model": "reference model",
    "metric": "official score",
    "dataset": "data set that can be read",
    "agreement": "measure of how far two answers are apart",
    "pictures": "pictures of answers",
    "package": "package of files",
    "answers": "score of answers that are files",
}
RAW = "0..255, not normalised"
COLOURS = 3
# What has AI Hub compile a model whose pictures are fed channels last.
CHANNEL_LAST = "--force_channel_last_input"
# What has it take 64-bit inputs and outputs as 32-bit ones.
TRUNCATE = "--truncate_64bit_io"
_TARGET = "--target_runtime"
# What the ids of rules that several tracks have begin with.
SHARED_PREFIXES = ("COM", "IMG", "TXT", "NPU", "DEV")


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    `name` is None where the contract does not name it. A None in `shape` stands for any size
    (an embedding's width). `dtypes` are numpy names, the preferred one first. `values` says between
    which numbers an output lies, where the contract does.
    """

    name: str | None
    shape: Shape
    dtypes: tuple[str, ...]
    meaning: str
    kind: Kind = ""
    values: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """`image_input float32 1x3x1024x1024`."""
        return f"{self.name or '(any name)'} {'/'.join(self.dtypes)} {format_shape(self.shape)}"

    @property
    def channels(self) -> int:
        """The axis of R, G and B in a picture or a clip: the last one where that has three."""
        return len(self.shape) - 1 if self.shape[-1] == COLOURS else 1


@dataclass(frozen=True)
class Part:
    """One model file of a submission; retrieval has two, most tracks one, a package none."""

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def image(self) -> Tensor | None:
        """The input that takes a picture or a clip, None for a text encoder."""
        return next((tensor for tensor in self.inputs if tensor.kind == "picture"), None)

    @property
    def text(self) -> Tensor | None:
        """The input that takes token ids, None for a model without one."""
        return next((tensor for tensor in self.inputs if tensor.kind == "text"), None)


@dataclass(frozen=True)
class Track:
    """One edition of a track.

    `image_high` is the largest pixel value that is fed (255 or 1). `budget_ms` is the published
    latency limit in milliseconds, None where there is none or, with `budget_is_reference`, where it
    is the time of the reference model on the same device; `budget` says it in words. With
    `normalised_inside` mean and standard deviation of the pixels belong into the model, as they do
    wherever [0, 1] is fed.
    `form` and `leaderboard` are addresses, empty where the track's documents have none.
    `prefix` begins the ids of the rules in its own numbering; those in the module `rules` are held
    to it alone. `home` is the package of its rooms, empty where it has none; `rooms` has those that
    are modules elsewhere, with an empty name for one that it does without. `file` is the TOML file
    that it comes from, if any.
    """

    name: str
    edition: str
    title: str
    parts: tuple[Part, ...]
    image_high: float
    device: str
    compile_options: str
    budget: str
    budget_ms: float | None
    metric: str
    sources: tuple[str, ...]
    prefix: str
    home: str = ""
    rules: str = ""
    rooms: tuple[tuple[Room, str], ...] = ()
    file: str = ""
    budget_is_reference: bool = False
    normalised_inside: bool = False
    form: str = ""
    leaderboard: str = ""

    @property
    def id(self) -> str:
        """`depth-2025`; a track without editions is its name alone."""
        return f"{self.name}-{self.edition}" if self.edition else self.name

    @property
    def spec(self) -> str:
        """What finds it again in another process."""
        return self.file or self.id

    def has(self, room: Room) -> bool:
        """Whether the track has that room; nothing of it is imported."""
        return bool(self._module(room))

    def room(self, room: Room) -> Any:
        """The module of that room. Raises SubmissionError where the track has none."""
        module = self._module(room)
        if not module:
            raise SubmissionError(
                f"{self.id} has no {ROOMS[room]}",
                f"a track that is a package has one in {room}.py (docs/extending.md)",
            )
        return importlib.import_module(module)

    def _module(self, room: Room) -> str:
        elsewhere = dict(self.rooms)
        if room in elsewhere or not self.home:
            return elsewhere.get(room, "")
        module = f"{self.home}.{room}"
        return module if find_spec(module) else ""

    @property
    def fed_channels_last(self) -> frozenset[str]:
        """The inputs that a compiled model takes with their channels last, by its options."""
        _, _, names = self.compile_options.partition(f"{CHANNEL_LAST} ")
        return frozenset(names.split()[0].split(",")) if names else frozenset()

    def input_specs(self, part: Part) -> dict[str, tuple[tuple[int, ...], str]]:
        """What a PyTorch model is compiled for: shapes and dtypes of the contract's inputs by name,
        ids as they are truncated.
        """
        wide = TRUNCATE in self.compile_options
        return {
            str(tensor.name): (
                tuple(int(size or 1) for size in tensor.shape),
                tensor.dtypes[-1] if wide else tensor.dtypes[0],
            )
            for tensor in part.inputs
        }

    @property
    def runtime(self) -> str:
        """The target runtime of the compile options; without one tflite, which AI Hub takes then
        for a phone.
        """
        _, _, target = self.compile_options.partition(f"{_TARGET} ")
        return (target.split() or ["tflite"])[0]

    def compiled_for(self, runtime: str) -> "Track":
        """The same track with another target runtime in its compile options."""
        words = self.compile_options.split()
        if _TARGET in words:
            at = words.index(_TARGET)
            del words[at : at + 2]
        return replace(self, compile_options=" ".join([_TARGET, runtime, *words]))

    def part(self, name: str) -> Part:
        """The part of that name; KeyError if the track has none."""
        return {part.name: part for part in self.parts}[name]


def format_shape(shape: Shape | None) -> str:
    """`1x3x480x640`; `?` for a size that is not fixed, `unknown` for no shape at all."""
    if shape is None:
        return "unknown"
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def fits(found: Shape | None, wanted: Shape) -> bool:
    """Whether a declared or returned shape can be the contract's; unknown sizes can be anything."""
    if found is None:
        return True
    return len(found) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(found, wanted, strict=True)
    )


def picture(name: str, height: int, width: int, values: str) -> Tensor:
    """The input that takes one RGB picture, float32, channels first."""
    return Tensor(name, (1, 3, height, width), ("float32",), f"RGB, {values}", "picture")
