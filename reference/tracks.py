"""The tracks as data: what each edition feeds a model, what it expects back, and where that is
written. Errata (E1, E2, ...) are listed in `docs/errata.md`.
"""

from dataclasses import dataclass

from reference.errors import SubmissionError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensor:
    """One input or output.

    `name` is None where the contract does not name it. A None in `shape` stands for any size
    (an embedding's width). `dtypes` are numpy names, the preferred one first.
    """

    name: str | None
    shape: Shape
    dtypes: tuple[str, ...]
    meaning: str

    @property
    def label(self) -> str:
        """`image_input float32 1x3x1024x1024`."""
        return f"{self.name or '(any name)'} {'/'.join(self.dtypes)} {format_shape(self.shape)}"


@dataclass(frozen=True)
class Part:
    """One model file of a submission; retrieval has two, the other tracks one."""

    name: str
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def image(self) -> Tensor | None:
        """The input that takes a picture, None for a text encoder."""
        return next((tensor for tensor in self.inputs if len(tensor.shape) == 4), None)

    @property
    def text(self) -> Tensor | None:
        """The input that takes token ids, None for a model of pictures alone."""
        return next((tensor for tensor in self.inputs if len(tensor.shape) != 4), None)


@dataclass(frozen=True)
class Track:
    """One edition of a track.

    `inputs` names the module that prepares its data and `model` the one that builds its reference
    model, empty where there is none. `image_high` is the largest pixel value that
    is fed (255 or 1). `budget_ms` is the published latency limit in milliseconds, None where the
    limit is relative; `budget` says it in words.
    """

    name: str
    edition: str
    title: str
    parts: tuple[Part, ...]
    inputs: str
    model: str
    image_high: float
    device: str
    compile_options: str
    budget: str
    budget_ms: float | None
    metric: str
    sources: tuple[str, ...]

    @property
    def id(self) -> str:
        """`depth-2025`; a track without editions is its name alone."""
        return f"{self.name}-{self.edition}" if self.edition else self.name

    @property
    def runtime(self) -> str:
        """The target runtime of the compile options; without one tflite, which AI Hub takes then
        for a phone.
        """
        _, _, target = self.compile_options.partition("--target_runtime ")
        return (target.split() or ["tflite"])[0]

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


def _image(name: str, height: int, width: int, values: str) -> Tensor:
    return Tensor(name, (1, 3, height, width), ("float32",), f"RGB, {values}")


_TEXT_PAIR = Tensor(
    "text_input", (2, 1, 77), ("int32",), "CLIP token ids, attention mask (never read: E20)"
)
_EMBEDDING = Tensor(None, (1, None), ("float32",), "embedding, same width for image and text")
_RAW = "0..255, not normalised"

SEGMENTATION_2025 = Track(
    name="segmentation",
    edition="2025",
    title="LPCVC 2025 Track 2: open-vocabulary segmentation with a text prompt",
    parts=(
        Part(
            "model",
            (_image("image_input", 1024, 1024, _RAW), _TEXT_PAIR),
            Tensor("pred_mask", (1024, 1024), ("float32",), "binary mask, exactly 0.0 or 1.0"),
        ),
    ),
    inputs="reference.segmentation.inputs",
    model="reference.segmentation.model",
    image_high=255.0,
    device="Snapdragon X Elite CRD",
    compile_options="--target_runtime qnn_context_binary",
    budget="no slower than the sample solution on the same device",
    budget_ms=None,
    metric="mIoU",
    sources=(
        "LPCVC 2025 Track 2 rules page, section 4.5",
        "25LPCVC_Track2_Segmentation_Sample_Solution",
        "25LPCVC_Evaluations, Track_2",
    ),
)

RETRIEVAL_2026 = Track(
    name="retrieval",
    edition="2026",
    title="LPCVC 2026 Track 1: image-to-text retrieval",
    parts=(
        Part("image", (_image("image", 224, 224, "[0, 1], no mean/std"),), _EMBEDDING),
        Part(
            "text",
            # Uploaded as int32, compiled as int64 with --truncate_64bit_io: both are in use (E2).
            (Tensor("text", (1, 77), ("int32", "int64"), "CLIP token ids, no attention mask"),),
            _EMBEDDING,
        ),
    ),
    inputs="reference.retrieval.inputs",
    model="reference.retrieval.model",
    image_high=1.0,
    device="XR2 Gen 2 (Proxy)",
    compile_options="--target_runtime qnn_dlc --truncate_64bit_io",
    budget="image and text latency together below 35 ms",
    budget_ms=35.0,
    metric="Recall@10",
    sources=("26LPCVC_Track1_Sample_Solution",),
)

RETRIEVAL_2026_DRAFT = Track(
    name="retrieval",
    edition="2026-draft",
    title="LPCVC 2026 Track 1: image-to-text retrieval (early page, marked TO BE UPDATED: E10)",
    parts=(
        Part("image", (_image("image_input", 1024, 1024, _RAW),), _EMBEDDING),
        Part("text", (_TEXT_PAIR,), _EMBEDDING),
    ),
    inputs="reference.segmentation.inputs",
    model="",
    image_high=255.0,
    device="XR2 Gen 2 (Proxy)",
    compile_options="--target_runtime qnn_dlc --truncate_64bit_io",
    budget="not stated on the draft page",
    budget_ms=None,
    metric="Recall@10",
    sources=("LPCVC 2026 Track 1 rules page (draft), section 4.5",),
)

DEPTH_2025 = Track(
    name="depth",
    edition="2025",
    title="LPCVC 2025 Track 3: monocular relative depth",
    parts=(
        Part(
            "model",
            (_image("image", 480, 640, _RAW),),
            Tensor(None, (1, 1, 480, 640), ("float32",), "relative depth in [0, 1]"),
        ),
    ),
    inputs="reference.depth.inputs",
    model="reference.depth.model",
    image_high=255.0,
    device="Samsung Galaxy S24 (Family)",
    compile_options="",
    budget="30 FPS or better",
    budget_ms=1000.0 / 30.0,
    metric="F-score",
    sources=(
        "LPCVC 2025 Track 3 sample solution, README section 2",
        "25LPCVC_Track3_Sample_Solution",
        "25LPCVC_Evaluations, Track_3",
    ),
)

PIDNET = Track(
    name="pidnet",
    edition="",
    title="AI Hub model card: PidNet, Cityscapes semantic segmentation",
    parts=(
        Part(
            "model",
            (_image("image", 1024, 2048, "[0, 1], mean/std inside the model"),),
            Tensor("mask", (1, 19, 128, 256), ("float32",), "logits of the 19 Cityscapes classes"),
        ),
    ),
    inputs="reference.pidnet.inputs",
    model="reference.pidnet.model",
    image_high=1.0,
    device="Samsung Galaxy S24",
    compile_options="--target_runtime qnn_dlc",
    budget="no slower than the card's row for the device, runtime and precision",
    budget_ms=None,
    metric="mIoU over 19 classes, ignore label 255",
    sources=("AI Hub model card PidNet", "qai-hub-models, pidnet"),
)

TRACKS: dict[str, Track] = {
    track.id: track
    for track in (SEGMENTATION_2025, RETRIEVAL_2026, RETRIEVAL_2026_DRAFT, DEPTH_2025, PIDNET)
}

DEFAULTS: dict[str, Track] = {
    track.name: track for track in (SEGMENTATION_2025, RETRIEVAL_2026, DEPTH_2025, PIDNET)
}


def find_track(name: str) -> Track:
    """The track called `name`: an id (`depth-2025`), or a bare name for its default edition.

    Raises SubmissionError for a track or an edition that does not exist.
    """
    track = TRACKS.get(name) or DEFAULTS.get(name)
    if track is None:
        known = ", ".join(sorted({*TRACKS, *DEFAULTS}))
        raise SubmissionError(f"unknown track or edition {name!r}", f"choose one of: {known}")
    return track
