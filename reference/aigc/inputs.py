"""What the vision encoder is fed: patches of a picture, as Qwen2-VL's processor makes them.

`inference_script.py` resizes with qwen_vl_utils and leaves the rest to the processor of
transformers. Both round sides to multiples of 28 pixels: patches of 14, merged two by two.
"""

import numpy as np
from PIL import Image

from reference.errors import SubmissionError
from reference.images import Source, open_pillow

PATCH, MERGE, FRAMES = 14, 2, 2
FACTOR = PATCH * MERGE
# Of the sample's inputs.json.
HEIGHT, WIDTH = 342, 512
# float32 values of one patch: a still picture counts as two frames.
PATCH_VALUES = 3 * FRAMES * PATCH * PATCH
# OpenAI's CLIP, which Qwen2-VL's processor has taken over.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def rounded(height: int, width: int) -> tuple[int, int]:
    """The sides that are used: the nearest multiples of 28, halves to even, at least one.

    qwen_vl_utils also scales what has fewer than 4 or more than 16384 tokens; neither fits a phone.
    """
    return max(FACTOR, round(height / FACTOR) * FACTOR), max(FACTOR, round(width / FACTOR) * FACTOR)


def tokens(height: int, width: int) -> int:
    """How many tokens of the prompt a picture of that size takes: 216 for 342 x 512."""
    tall, wide = rounded(height, width)
    return (tall // FACTOR) * (wide // FACTOR)


def prepare_image(source: Source, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Float32 (4 x tokens, 1176), one row a patch, in the order in which patches are merged."""
    tall, wide = rounded(height, width)
    picture = open_pillow(source).resize((wide, tall), Image.Resampling.BICUBIC)
    scaled = (np.asarray(picture, np.float32) / 255 - _MEAN) / _STD
    rows, columns = tall // FACTOR, wide // FACTOR
    cut = scaled.reshape(rows, MERGE, PATCH, columns, MERGE, PATCH, 3)
    # To rows and columns of tokens, the patches of one, colours, and the pixels of a patch.
    patches = cut.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, 3, 1, PATCH, PATCH)
    return patches.repeat(FRAMES, axis=2).reshape(-1, PATCH_VALUES).astype(np.float32)


def prepare_text(text: str) -> np.ndarray:
    """Raises SubmissionError: prompts go through the tokenizer of the package, on the device."""
    raise SubmissionError("texts are not prepared here", "Genie does that, with tokenizer.json")
