"""transformers' models, without what the library brings in where it happens to be installed.

With torchao, which Google's TFLite converter needs, every import of a model takes seconds more and
prints warnings about kernels for GPUs.
"""

import transformers.utils as utils
from transformers.utils import import_utils

utils.is_torchao_available = import_utils.is_torchao_available = lambda *_, **__: False

from transformers import (  # noqa: E402 - it looks when its models are imported
    CLIPConfig,
    CLIPModel,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

__all__ = [
    "CLIPConfig",
    "CLIPModel",
    "DepthAnythingConfig",
    "DepthAnythingForDepthEstimation",
    "Dinov2Config",
]
