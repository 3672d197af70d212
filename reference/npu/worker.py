"""The child process that holds the compiler and the emulator. Nothing else imports it."""

import contextlib
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort
import onnxruntime_qnn as qnn

from reference.child import OUT_OF_MEMORY, Child, main, peak_memory
from reference.errors import one_line
from reference.npu.binary import describe, partition_name
from reference.npu.normalise import normalise
from reference.npu.process import CONTEXT, PROFILE

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SEVERITY_VERBOSE, _SEVERITY_ERROR = 0, 3


class NpuChild(Child):
    """Compiles one model or emulates one compiled model."""

    def compile(
        self, model: str, folder: str, soc_model: int, level: str, tuning: dict[str, int]
    ) -> dict[str, Any]:
        """Writes the context binary and what the compiler says of it into `folder`.

        Paths are absolute. `level` is that of profiling: "basic", or "optrace" for the simulated
        schedule. `tuning` has the fields of `reference.npu.devices.Tuning`.
        Answers the nodes with where they run, what was rewritten for onnxruntime, what went wrong
        (empty if nothing), the seconds taken, and the peak memory in bytes (None where the system
        does not tell).
        """
        options = _options(
            _SEVERITY_VERBOSE,
            **_htp(soc_model, **tuning),
            enable_framework_op_trace="1",
            framework_op_trace_dir=folder,
            profiling_level=level,
            profiling_file_path=str(Path(folder) / PROFILE),
            # Otherwise Q and DQ of the graph's inputs and outputs are left to the CPU.
            offload_graph_io_quantization="0",
        )
        options.add_session_config_entry("ep.context_enable", "1")
        options.add_session_config_entry("ep.context_embed_mode", "0")
        options.add_session_config_entry("ep.context_file_path", str(Path(folder) / CONTEXT))
        start = time.perf_counter()
        problem, nodes = "", []
        notes: list[str] = []
        try:
            # A trace comes with a picture of the graph, written where the process stands.
            with contextlib.chdir(os.environ["HOME"]):
                session, notes = _open_model(model, options)
                nodes = _assignment(session)
        except Exception as error:  # the runtime's own classes share no other base
            if OUT_OF_MEMORY.search(str(error)):
                raise
            problem = one_line(_CODE.sub("", str(error)))
        seconds = time.perf_counter() - start
        return {
            "nodes": nodes,
            "notes": notes,
            "problem": problem,
            "seconds": seconds,
            "memory": peak_memory(),
        }

    def dlc(self, model: str, folder: str) -> dict[str, Any]:
        """Writes the model as DLC, which is the same for every chip, into `folder`.

        Answers the nodes with where they are, as `compile` does.
        """
        library = Path(qnn.get_qnn_htp_path())
        options = _options(
            _SEVERITY_VERBOSE,
            backend_path=str(library.with_name(library.name.replace("Htp", "Ir"))),
            dump_qnn_ir_dlc="1",
            dump_qnn_ir_dlc_dir=folder,
            offload_graph_io_quantization="0",
        )
        return {"nodes": _assignment(_open_model(model, options)[0])}

    def link(
        self, models: list[str], folder: str, soc_model: int, tuning: dict[str, int]
    ) -> dict[str, Any]:
        """Writes one context binary with a graph for each model into `folder`.

        Answers the names of the graphs and, for each model, its nodes with where they run.
        """
        names, nodes, sessions = [], [], []
        for index, model in enumerate(models):
            context = Path(folder) / f"{index}.onnx"
            options = _options(
                _SEVERITY_ERROR,
                **_htp(soc_model, **tuning),
                offload_graph_io_quantization="0",
            )
            options.add_session_config_entry("ep.context_enable", "1")
            options.add_session_config_entry("ep.context_embed_mode", "0")
            options.add_session_config_entry("ep.context_file_path", str(context))
            options.add_session_config_entry("ep.share_ep_contexts", "1")
            if index == len(models) - 1:
                options.add_session_config_entry("ep.stop_share_ep_contexts", "1")
            sessions.append(
                _open_model(model, options)[0]
            )  # the graphs live as long as the sessions
            nodes.append(_assignment(sessions[-1]))
            names.append(partition_name(context))
        return {"graphs": names, "nodes": nodes}

    def describe(self, binary: str) -> dict[str, Any]:
        """Answers what a context binary says of itself, as `reference.npu.binary.describe`."""
        return describe(Path(binary))

    def load(self, context: str, soc_model: int) -> dict[str, Any]:
        """Loads a compiled model into the emulator; answers the names of its outputs."""
        session = _open(context, _options(_SEVERITY_ERROR, **_htp(soc_model)))

        def run(feeds: dict[str, np.ndarray]) -> list[Any]:
            return list(session.run(None, feeds))

        self._run = run
        return {"outputs": [output.name for output in session.get_outputs()]}


def _htp(soc_model: int, level: int = 3, vtcm_mb: int = 0) -> dict[str, str]:
    """The options of the NPU's backend."""
    return {
        **({"vtcm_mb": str(vtcm_mb)} if vtcm_mb else {}),
        "backend_path": qnn.get_qnn_htp_path(),
        "soc_model": str(soc_model),
        "enable_htp_fp16_precision": "1",
        "htp_graph_finalization_optimization_mode": str(level),
    }


def _options(severity: int, **provider: str) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = severity
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_provider_for_devices(_devices(severity), provider)
    return options


@cache
def _devices(severity: int) -> list[Any]:
    # The provider takes its severity when it is registered, which is once a process.
    ort.set_default_logger_severity(severity)
    name = qnn.get_ep_name()
    ort.register_execution_provider_library(name, qnn.get_library_path())
    return [device for device in ort.get_ep_devices() if device.ep_name == name]


def _open_model(path: str, options: ort.SessionOptions) -> tuple[ort.InferenceSession, list[str]]:
    """A session on the ONNX file at `path`, and what was rewritten in it for onnxruntime."""
    model, notes = normalise(Path(path))
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(Path(path).parent)
    )
    return _open(path if model is None else model, options), notes


def _open(model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    # With its fallback, a provider that fails would silently become the CPU.
    return ort.InferenceSession(model, sess_options=options, enable_fallback=0)


def _assignment(session: ort.InferenceSession) -> list[tuple[str, str, str]]:
    """(execution provider, node name, operator) of every node."""
    return [
        (part.ep_name, node.name, node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


if __name__ == "__main__":
    main(NpuChild())
