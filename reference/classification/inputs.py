"""What the classification track feeds a model: a picture of 224x224 pixels.

Source: 25LPCVC_AIHub_Guide, upload_dataset.py.
"""

import numpy as np
import numpy.typing as npt

from reference.images import Source, open_pillow, to_tensor

SIZE = 224


def prepare_image(source: Source) -> npt.NDArray[np.float32]:
    """`image`: float32 (1, 3, 224, 224), RGB in [0, 1], no mean or standard deviation.

    Opened with Pillow and resized with its default filter, both edges to 224: the aspect ratio is
    not kept and nothing is cropped. Raises SubmissionError for a picture that cannot be opened
    (see `reference.images`).
    """
    return to_tensor(open_pillow(source).resize((SIZE, SIZE))) / np.float32(255)
