"""The child process that holds LiteRT. Nothing else imports it."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from reference.child import Child, main, peak_memory
from reference.errors import ToolError
from reference.litert.elf import write_empty_library
from reference.litert.network import read_network
from reference.litert.parts import take_apart
from reference.litert.run import load
from reference.litert.toolchain import litert_folder


class LiteRtChild(Child):
    """Converts one model, runs one, or compiles one."""

    def convert(
        self,
        model: str,
        form: str,
        inputs: list[tuple[str, list[int], str]],
        outputs: list[str],
        last_inputs: list[str],
        last_outputs: list[str],
        path: str,
    ) -> dict[str, Any]:
        """Writes a PyTorch archive as TFLite; answers the peak memory in bytes."""
        import litert_torch
        import torch

        from reference.litert.naming import Named
        from reference.torch_archive import open_archive

        examples = tuple(_example(torch, shape, dtype) for _, shape, dtype in inputs)
        module = open_archive(Path(model), form)
        if form == "torchscript":
            from reference.litert.unscript import unscripted

            module = unscripted(module, examples)
        names = [name for name, *_ in inputs]
        named = Named(module, names, outputs, last_inputs, last_outputs)
        feeds = dict(zip(names, examples, strict=True))
        for name in last_inputs:
            feeds[name] = feeds[name].movedim(1, -1).contiguous()
        litert_torch.convert(named, sample_kwargs=feeds).export(path)
        return {"memory": peak_memory()}

    def quantize(
        self, model: str, examples: str, precision: str, integer_ends: bool, path: str
    ) -> dict[str, Any]:
        """Writes a TFLite file with integers; `examples` is a folder of .npz files."""
        from ai_edge_quantizer import qtyping, quantizer, recipe

        plans = {"w8a8": recipe.static_wi8_ai8, "w8a16": recipe.static_wi8_ai16}
        tool = quantizer.Quantizer(model, plans[precision]())
        kinds = qtyping.TFLOperationName
        for kind in () if integer_ends else (kinds.INPUT, kinds.OUTPUT):
            tool.update_quantization_recipe(
                regex=".*", operation_name=kind, algorithm_key="no_quantize"
            )
        (signature,) = read_network(Path(model)).signatures or ("serving_default",)
        found = tool.calibrate({signature: _Examples(sorted(Path(examples).iterdir()))})
        tool.quantize(found).export_model(path)
        return {}

    def compile(
        self, model: str, folder: str, soc: str, dlc: bool, tuning: dict[str, int]
    ) -> dict[str, Any]:
        """Writes what Qualcomm's plugin makes of a TFLite file, and its log, into `folder`.

        Answers whether something was `made`, the `steps` (`reference.litert.parts`), the seconds
        taken, and the plugin's peak memory in bytes.
        """
        target, log = Path(folder), Path(folder) / "compile.log"
        apply = _Plugin(model, soc, tuning, Path(os.environ["HOME"]))
        start = time.perf_counter()
        with log.open("wb") as file:
            made = apply(target / "model.tflite", file, ir_json_dir=folder)
            if made and dlc:  # with a folder for it the plugin makes nothing else
                made = apply(apply.home / "dlc.tflite", file, dlc_dir=folder)
        return {
            "made": made,
            "steps": take_apart(target / "model.tflite", target) if made else [],
            "seconds": time.perf_counter() - start,
            "memory": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        }

    def load(self, model: str, threads: int) -> dict[str, str]:
        """Loads a TFLite file; answers the runtime's name."""
        runtime, self._run = load(Path(model), threads)
        return {"runtime": runtime}


class _Examples:
    """Inputs by name, of one file at a time: the quantiser walks them more than once."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        with np.load(self._files[index], allow_pickle=False) as stored:
            return dict(stored)


class _Plugin:
    """Google's `apply_plugin_main` with Qualcomm's plugin and QAIRT, for one model and chip."""

    def __init__(self, model: str, soc: str, tuning: dict[str, int], home: Path) -> None:
        import onnxruntime_qnn

        litert, self.home = litert_folder(), home
        qairt = Path(onnxruntime_qnn.get_qnn_htp_path()).parent
        libraries = home / "libraries"
        libraries.mkdir()
        write_empty_library(libraries / "libQnnLpai.so")
        # A copy: wheels need not keep run bits, and what is installed is never changed.
        self._program = shutil.copyfile(litert / "tools/apply_plugin_main", home / "apply_plugin")
        self._program.chmod(0o700)
        self._environment = {**os.environ, "LD_LIBRARY_PATH": f"{qairt}:{libraries}:{litert}"}
        self._options = (
            "--cmd=apply",
            "--soc_manufacturer=Qualcomm",
            f"--soc_model={soc}",
            f"--model={model}",
            f"--libs={litert / 'vendors/qualcomm/compiler'}",
            "--subgraphs=0",  # the others are bodies of what the CPU runs
            f"--qualcomm_optimization_level=O{tuning['level']}",
            f"--qualcomm_vtcm_size={tuning['vtcm_mb']}",
        )

    def __call__(self, output: Path, log: IO[bytes], **options: str) -> bool:
        """Whether it wrote `output`; a crash is raised as a ToolError."""
        more = [f"--qualcomm_{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            [str(self._program), *self._options, f"--o={output}", *more],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=self._environment,
            cwd=self.home,
            check=False,
        )
        if done.returncode < 0:
            raise ToolError(
                f"Qualcomm's plugin for LiteRT crashed ({signal.Signals(-done.returncode).name})"
            )
        return done.returncode == 0 and output.is_file() and output.stat().st_size > 0


def _example(torch: Any, shape: Sequence[int], dtype: str) -> Any:
    return torch.zeros(tuple(shape), dtype=getattr(torch, dtype))


if __name__ == "__main__":
    main(LiteRtChild())
