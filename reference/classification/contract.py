"""Image classification: what the track feeds, expects back, and where that is written."""

from reference.tracks import Part, Tensor, Track, picture

# 25LPCVC_Track1_Classification_Referee, referee_evaluate.py: those of COCO that it kept, in its
# order. Their numbers are the truth's `class_index` and the places of the logits.
CLASSES = (
    *("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse"),
    *("sheep", "cow", "elephant", "bear", "zebra", "backpack", "umbrella", "handbag"),
    *("tie", "skis", "sports ball", "kite", "tennis racket", "bottle", "wine glass", "cup"),
    *("knife", "spoon", "bowl", "banana", "apple", "orange", "broccoli", "hot dog"),
    *("pizza", "donut", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("TV", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven"),
    *("toaster", "sink", "refrigerator", "book", "clock", "vase", "teddy bear", "hair drier"),
)

CLASSIFICATION_2025 = Track(
    name="classification",
    edition="2025",
    title="LPCVC 2025 Track 1: image classification",
    parts=(
        Part(
            "model",
            (picture("image", 224, 224, "[0, 1], mean/std inside the model"),),
            Tensor(
                None,
                (1, len(CLASSES)),
                ("float32",),
                "logits of the 64 classes, in the referee's order",
                kind="logits",
            ),
        ),
    ),
    image_high=1.0,
    device="Samsung Galaxy S24 (Family)",
    compile_options="--target_runtime tflite",
    budget="none found in public code",
    budget_ms=None,
    metric="accuracy",
    sources=(
        "25LPCVC_Track1_Classification_Referee",
        "25LPCVC_AIHub_Guide",
        "25LPCVC_Evaluations, Track_1",
    ),
    prefix="CLS",
    home="reference.classification",
    rules="conformance.rules.classification",
)

TRACKS = (CLASSIFICATION_2025,)
