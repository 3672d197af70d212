"""The inputs a submission is looked at with: photographs, constant images, noise and texts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np

from reference.data import fixture
from reference.errors import SubmissionError
from reference.tracks import Part, Tensor, Track

Role = Literal[
    "photo",
    "constant",
    "noise",
    "text",
    "repeat",
    "retext",
    "repicture",
    "tail",
    "rescaled",
    "padding",
]
# What no evaluator feeds: it is looked at for advice, and decides no rule of the contract.
BEYOND_CONTRACT: frozenset[Role] = frozenset({"rescaled", "padding"})

PHOTOS = {
    "astronaut": ("astronaut.png", "an astronaut in an orange suit."),
    "chelsea": ("chelsea.png", "the face of a tabby cat."),
    "coffee": ("coffee.png", "cup of coffee."),
    "rocket": ("rocket.jpg", "rocket."),
}
# Of one aspect ratio, so that the letterbox hardly tells them apart.
ALIKE = ("chelsea", "coffee")
CONSTANTS = {"black": 0.0, "white": 1.0, "grey": 0.5}
TEXTS = (
    "a photo of an astronaut.",
    "a tabby cat looking into the camera.",
    "dog.",
    "Cup of coffee on a wooden table, seen from above, with a spoon and a saucer beside it!",
    "",
    "naïve façade ☕ 日本語 🚀",
)
# Of one length, so that an attention mask does not tell them apart.
WORDS = ("flag.", "cat.")
END_OF_TEXT = 49407
_STEM = "photo " * 68


@dataclass(frozen=True)
class Probe:
    """One set of inputs.

    `feeds` builds the arrays when the probe is run, so that few are in memory at a time. `of`
    names the probe that this one is a variation of. `content` is the height and width in pixels
    that the picture takes of a letterboxed image.
    """

    name: str
    role: Role
    feeds: Callable[[], dict[str, np.ndarray]]
    of: str = ""
    content: tuple[int, int] | None = None

    @property
    def contract(self) -> bool:
        """Whether an evaluator may feed this."""
        return self.role not in BEYOND_CONTRACT


def probes_for(track: Track, part: Part) -> list[Probe]:
    """The probes of one part of a track, plain inputs first and their variations after.

    What is beyond the contract comes last: a model may die of it and has answered the rest.
    """
    maker = _Maker(track, part)
    if not track.has("inputs") or not (part.image or part.text):
        return maker.noises()
    probes = maker.images() if part.image else maker.texts()
    return sorted(probes, key=lambda probe: not probe.contract)


def need_inputs(track: Track) -> None:
    """Raises SubmissionError where the track is looked at with noise, which tells little of ranges:
    of the wrong scale it would call a model of 0..255 pictures safe.
    """
    if not track.has("inputs"):
        raise SubmissionError(
            f"nothing prepares what {track.id} feeds", "name a track with prepare = in the contract"
        )


class _Maker:
    def __init__(self, track: Track, part: Part) -> None:
        self._track = track
        self._part = part

    def noises(self) -> list[Probe]:
        """Where nothing prepares what the part takes: numbers, and no photographs or texts."""
        own = [
            self._probe("noise", "noise", self._noise),
            self._probe("noise again", "repeat", self._noise, of="noise"),
        ]
        return own + (self._constants() if self._part.image else [])

    def images(self) -> list[Probe]:
        photos = [
            self._probe(
                name, "photo", partial(self._photo, file), text, content=self._content(file)
            )
            for name, (file, text) in PHOTOS.items()
        ]
        plain = [
            *photos,
            *self._constants(),
            self._probe("noise", "noise", self._noise),
        ]
        first, (file, text) = next(iter(PHOTOS.items()))
        photo = partial(self._photo, file)
        variations = [self._probe(f"{first} again", "repeat", photo, text, first)]
        for name in ALIKE:
            rescaled = partial(self._rescaled, PHOTOS[name][0])
            variations.append(
                self._probe(
                    f"{name} at the wrong scale", "rescaled", rescaled, PHOTOS[name][1], name
                )
            )
        if self._part.text:
            for name, other in zip(ALIKE, reversed(ALIKE), strict=True):
                variations.append(self._other_picture(name, other))
            # Only where there is a cat do masks of a cat and of a dog differ by right.
            cat = partial(self._photo, PHOTOS["chelsea"][0])
            rocket = partial(self._photo, PHOTOS["rocket"][0])
            variations += [
                self._probe(f"{first}, 'flag.'", "retext", photo, "flag."),
                self._probe(f"{first}, 'dog.'", "retext", photo, "dog.", f"{first}, 'flag.'"),
                self._probe("rocket, 'dog.'", "retext", rocket, "dog.", "rocket"),
                self._probe(f"{first}, zeros as padding", "padding", photo, text, first, True),
                self._probe("chelsea, long text A", "tail", cat, _STEM + "cat."),
                self._probe("chelsea, long text B", "tail", cat, _STEM + "dog."),
            ]
        return plain + variations

    def texts(self) -> list[Probe]:
        first = TEXTS[0]
        name = repr(first)
        return [
            *(self._probe(repr(text), "text", None, text) for text in TEXTS),
            *(self._probe(repr(text), "retext", None, text, "'dog.'") for text in WORDS),
            self._probe(f"{name} again", "repeat", None, first, name),
            self._probe(f"{name}, zeros as padding", "padding", None, first, name, True),
            self._probe("long text A", "tail", None, _STEM + "cat."),
            self._probe("long text B", "tail", None, _STEM + "dog."),
        ]

    def _probe(
        self,
        name: str,
        role: Role,
        image: Callable[[], np.ndarray] | None,
        text: str = "dog.",
        of: str = "",
        zero_padding: bool = False,
        content: tuple[int, int] | None = None,
    ) -> Probe:
        def feeds() -> dict[str, np.ndarray]:
            arrays = {}
            for tensor in self._part.inputs:
                assert tensor.name is not None, "inputs have names"
                if tensor is self._part.image:
                    assert image is not None, "a picture model gets a picture"
                    arrays[tensor.name] = image()
                elif tensor is self._part.text:
                    ids = self._inputs.prepare_text(text)
                    arrays[tensor.name] = _zero_padding(ids) if zero_padding else ids
                else:
                    arrays[tensor.name] = _numbers(tensor)
            return arrays

        return Probe(name, role, feeds, of, content)

    @property
    def _inputs(self) -> Any:
        return self._track.room("inputs")

    def _constants(self) -> list[Probe]:
        return [
            self._probe(name, "constant", partial(self._constant, level))
            for name, level in CONSTANTS.items()
        ]

    def _other_picture(self, name: str, other: str) -> Probe:
        """The text of one photograph with another photograph."""
        text, file = PHOTOS[name][1], PHOTOS[other][0]
        photo = partial(self._photo, file)
        content = self._content(file)
        return self._probe(
            f"{other}, the text of {name}", "repicture", photo, text, name, content=content
        )

    def _photo(self, file: str) -> np.ndarray:
        return _prepared(self._track, file)

    def _content(self, file: str) -> tuple[int, int] | None:
        if not hasattr(self._inputs, "letterbox"):
            return None
        from PIL import Image

        with Image.open(fixture(f"photos/{file}")) as image:
            size = (image.height, image.width)
        content: tuple[int, int] = self._inputs.letterbox(size)
        return content

    def _rescaled(self, file: str) -> np.ndarray:
        """A photograph at the scale of the other convention: [0, 1] for 0..255 and vice versa."""
        image = self._photo(file)
        return image / np.float32(255) if self._track.image_high > 1 else image * np.float32(255)

    def _constant(self, level: float) -> np.ndarray:
        return np.full(self._image_shape, level * self._track.image_high, np.float32)

    def _noise(self) -> np.ndarray:
        return _noise(self._image_shape, self._track.image_high)

    @property
    def _image_shape(self) -> tuple[int, ...]:
        tensor = self._part.image
        assert tensor is not None, "only picture models have an image shape"
        return fixed_shape(tensor)


@lru_cache(maxsize=len(PHOTOS))
def _prepared(track: Track, file: str) -> np.ndarray:
    """A photograph as the track prepares it, to be read only."""
    prepared: np.ndarray = track.room("inputs").prepare_image(fixture(f"photos/{file}"))
    prepared.flags.writeable = False
    return prepared


@lru_cache(maxsize=1)
def _noise(shape: tuple[int, ...], high: float) -> np.ndarray:
    """Whole levels of 256, to be read only."""
    pixels = np.random.default_rng(2025).integers(0, 256, shape)
    noise: np.ndarray = (pixels * (high / 255)).astype(np.float32)
    noise.flags.writeable = False
    return noise


def _numbers(tensor: Tensor) -> np.ndarray:
    """What other inputs are fed, the same at each call: floats in [0, 1), or ones."""
    shape = fixed_shape(tensor)
    floating = tensor.dtypes[0].startswith("float")
    values = np.random.default_rng(2025).random(shape) if floating else np.ones(shape)
    return values.astype(tensor.dtypes[0])


def fixed_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a contract tensor that has no free size."""
    return tuple(size for size in tensor.shape if size is not None)


def _zero_padding(text: np.ndarray) -> np.ndarray:
    """Token ids with zeros after the first end-of-text token; an attention mask stays."""
    changed = text.copy()
    ids = changed.reshape(-1, text.shape[-1])[0]
    ids[int(np.argmax(ids == END_OF_TEXT)) + 1 :] = 0
    return changed
