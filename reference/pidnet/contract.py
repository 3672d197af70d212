"""The AI Hub recipe PidNet: what it feeds, expects back, and where that is written."""

from reference.tracks import Part, Tensor, Track, picture

PIDNET = Track(
    name="pidnet",
    edition="",
    title="AI Hub model card: PidNet, Cityscapes semantic segmentation",
    parts=(
        Part(
            "model",
            (picture("image", 1024, 2048, "[0, 1], mean/std inside the model"),),
            Tensor(
                "mask",
                (1, 19, 128, 256),
                ("float32",),
                "logits of the 19 Cityscapes classes",
                kind="logits",
            ),
        ),
    ),
    image_high=1.0,
    device="Samsung Galaxy S24",
    compile_options="--target_runtime qnn_dlc",
    budget="no slower than the card's row for the device, runtime and precision",
    budget_ms=None,
    metric="mIoU over 19 classes, ignore label 255",
    sources=("AI Hub model card PidNet", "qai-hub-models, pidnet"),
    prefix="PID",
    home="reference.pidnet",
    rules="conformance.rules.pidnet",
)

TRACKS = (PIDNET,)
