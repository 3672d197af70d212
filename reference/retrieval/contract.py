"""Image-to-text retrieval: what the track feeds, expects back, and where that is written."""

from reference.segmentation.contract import TEXT_PAIR
from reference.tracks import RAW, Part, Tensor, Track, picture

EMBEDDING = Tensor(
    None,
    (1, None),
    ("float32",),
    "embedding, same width for image and text",
    kind="embedding",
)

RETRIEVAL_2026 = Track(
    name="retrieval",
    edition="2026",
    title="LPCVC 2026 Track 1: image-to-text retrieval",
    parts=(
        Part("image", (picture("image", 224, 224, "[0, 1], no mean/std"),), EMBEDDING),
        Part(
            "text",
            # Uploaded as int32, compiled as int64 with --truncate_64bit_io: both are in use (E2).
            (
                Tensor(
                    "text",
                    (1, 77),
                    ("int32", "int64"),
                    "CLIP token ids, no attention mask",
                    "text",
                ),
            ),
            EMBEDDING,
        ),
    ),
    image_high=1.0,
    device="XR2 Gen 2 (Proxy)",
    compile_options="--target_runtime qnn_dlc --truncate_64bit_io",
    budget="image and text latency together below 35 ms",
    budget_ms=35.0,
    metric="Recall@10",
    sources=("26LPCVC_Track1_Sample_Solution",),
    prefix="RET",
    home="reference.retrieval",
    rules="conformance.rules.retrieval",
)

RETRIEVAL_2026_DRAFT = Track(
    name="retrieval",
    edition="2026-draft",
    title="LPCVC 2026 Track 1: image-to-text retrieval (early page, marked TO BE UPDATED: E10)",
    parts=(
        Part("image", (picture("image_input", 1024, 1024, RAW),), EMBEDDING),
        Part("text", (TEXT_PAIR,), EMBEDDING),
    ),
    image_high=255.0,
    device="XR2 Gen 2 (Proxy)",
    compile_options="--target_runtime qnn_dlc --truncate_64bit_io",
    budget="not stated on the draft page",
    budget_ms=None,
    metric="Recall@10",
    sources=("LPCVC 2026 Track 1 rules page (draft), section 4.5",),
    prefix="RET",
    home="reference.retrieval",
    rules="conformance.rules.retrieval",
    rooms=(("inputs", "reference.segmentation.inputs"), ("model", "")),
    normalised_inside=True,
)

TRACKS = (RETRIEVAL_2026, RETRIEVAL_2026_DRAFT)
