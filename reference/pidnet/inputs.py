"""What PidNet is fed: a Cityscapes frame. Source: AI Hub model card; qai-hub-models, pidnet."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference.images import Source, open_pillow, to_tensor

HEIGHT, WIDTH = 1024, 2048


def prepare_image(source: Source) -> npt.NDArray[np.float32]:
    """`image`: float32 (1, 3, 1024, 2048), RGB in [0, 1]; mean and deviation are in the model.

    Cityscapes frames are 2048x1024 already. The card does not say how to bring another picture
    to that size; Pillow's antialiased bilinear resize, aspect ratio not kept, is this project's
    choice. Raises SubmissionError for a picture that cannot be opened (see `reference.images`).
    """
    picture = open_pillow(source).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return to_tensor(picture) / np.float32(255)
