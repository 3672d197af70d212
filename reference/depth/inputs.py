"""What the depth track feeds a model: a VGA picture. Source: 25LPCVC Track 3 README, section 2."""

import numpy as np
import numpy.typing as npt

from reference.images import Source, open_pillow, to_tensor

HEIGHT, WIDTH = 480, 640


def prepare_image(source: Source) -> npt.NDArray[np.float32]:
    """`image`: float32 (1, 3, 480, 640), RGB 0..255, not normalised.

    Every picture of the evaluation is 640x480 already. Another is brought to that size as the demo
    script of the track does: Pillow's default filter, aspect ratio not kept.
    Raises SubmissionError for a picture that cannot be opened (see `reference.images`).
    """
    return to_tensor(open_pillow(source).resize((WIDTH, HEIGHT)))
