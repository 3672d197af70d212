"""What the retrieval track feeds the two models: a 224x224 picture, or 77 token ids.

Source: 26LPCVC Track 1 sample solution, the final contract (E10).
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference.images import Source, open_pillow, to_tensor
from reference.tokenizer import tokenize

SIZE = 224


def prepare_image(source: Source) -> npt.NDArray[np.float32]:
    """`image`: float32 (1, 3, 224, 224), RGB in [0, 1], no mean or standard deviation.

    Opened with Pillow and resized with its default filter, antialiased bicubic, both edges to
    224: the aspect ratio is not kept and nothing is cropped. Pillow up to 12.1 resizes rows, then
    columns; Pillow 13 takes the columns of a tall picture first, a few levels of difference.
    Raises SubmissionError for a picture that cannot be opened (see `reference.images`).
    """
    picture = open_pillow(source).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return to_tensor(picture) / np.float32(255)


def prepare_text(text: str) -> npt.NDArray[np.int32]:
    """`text`: int32 (1, 77), the token ids; no attention mask, and no full stop is added.

    Raises SubmissionError for what is not text.
    """
    return tokenize(text).ids[np.newaxis]
