"""The same clips, channels ahead of the frames."""

import numpy as np
import numpy.typing as npt

from reference.action import inputs
from reference.action.inputs import ENDINGS  # noqa: F401 - of these files too
from reference.images import Source


def prepare_image(source: Source) -> npt.NDArray[np.float32]:
    """`video`: float32 (1, 3, 16, 112, 112), else as `reference.action.inputs.prepare_image`."""
    return np.ascontiguousarray(inputs.prepare_image(source).transpose(0, 4, 1, 2, 3))
