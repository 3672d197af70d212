"""onnxruntime on the host's CPU."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort

from reference.child import Run

SEVERITY_FATAL = 4


@contextmanager
def without_torch() -> Iterator[None]:
    """Within the block PyTorch is not found: onnxruntime's tools import it for what they do not
    need, which takes a second.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


def host_options(threads: int = 0) -> ort.SessionOptions:
    """Of a session on the host: silent, and exact. `threads` are those of a pass, 0 for one a core.

    Threads sleep when they wait: on busy cores those that spin take the time of those that work.
    """
    made = ort.SessionOptions()
    made.log_severity_level = SEVERITY_FATAL
    made.intra_op_num_threads = threads
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Fused quantised kernels give wrong values for some AIMET exports; without them Q/DQ is exact.
    made.add_session_config_entry("session.disable_quant_qdq", "1")
    return made


def host_session(target: str | Path, threads: int = 0) -> ort.InferenceSession:
    """A session on the ONNX file `target`, with `host_options`."""
    return ort.InferenceSession(
        target,
        sess_options=host_options(threads),
        providers=["CPUExecutionProvider"],
        enable_fallback=0,
    )


def load(target: str, threads: int = 0) -> tuple[str, Run]:
    """A session on the ONNX file `target`; returns the runtime's name and its forward pass.

    `threads` are those of a pass, 0 for one a core.
    """
    session = host_session(target, threads)

    def run(feeds: dict[str, np.ndarray]) -> list[Any]:
        return list(session.run(None, feeds))

    return f"onnxruntime {ort.__version__} CPU", run
