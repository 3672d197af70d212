"""onnxruntime on the host's CPU."""

import os
from typing import Any

import numpy as np

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from reference.child import Run

SEVERITY_FATAL = 4


def load(target: str, threads: int = 0) -> tuple[str, Run]:
    """A session on the ONNX file `target`; returns the runtime's name and its forward pass.

    `threads` are those of a pass, 0 for one a core.
    """
    options = ort.SessionOptions()
    options.log_severity_level = SEVERITY_FATAL
    options.intra_op_num_threads = threads
    # Fused quantised kernels give wrong values for some AIMET exports; without them Q/DQ is exact.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        target, sess_options=options, providers=["CPUExecutionProvider"], enable_fallback=0
    )

    def run(feeds: dict[str, np.ndarray]) -> list[Any]:
        return list(session.run(None, feeds))

    return f"onnxruntime {ort.__version__} CPU", run
