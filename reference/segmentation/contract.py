"""Open-vocabulary segmentation: what the track feeds, expects back, and where that is written."""

from reference.tracks import RAW, Part, Tensor, Track, picture

TEXT_PAIR = Tensor(
    "text_input", (2, 1, 77), ("int32",), "CLIP token ids, attention mask (never read: E20)", "text"
)

SEGMENTATION_2025 = Track(
    name="segmentation",
    edition="2025",
    title="LPCVC 2025 Track 2: open-vocabulary segmentation with a text prompt",
    parts=(
        Part(
            "model",
            (picture("image_input", 1024, 1024, RAW), TEXT_PAIR),
            Tensor(
                "pred_mask",
                (1024, 1024),
                ("float32",),
                "binary mask, exactly 0.0 or 1.0",
                kind="binary",
            ),
        ),
    ),
    image_high=255.0,
    device="Snapdragon X Elite CRD",
    compile_options="--target_runtime qnn_context_binary",
    budget="no slower than the sample solution on the same device",
    budget_ms=None,
    budget_is_reference=True,
    metric="mIoU",
    sources=(
        "LPCVC 2025 Track 2 rules page, section 4.5",
        "25LPCVC_Track2_Segmentation_Sample_Solution",
        "25LPCVC_Evaluations, Track_2",
    ),
    prefix="SEG",
    home="reference.segmentation",
    rules="conformance.rules.segmentation",
)

TRACKS = (SEGMENTATION_2025,)
