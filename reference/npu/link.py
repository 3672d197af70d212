"""Several models as the graphs of one context binary."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from reference.errors import SubmissionError
from reference.npu.devices import Device, Tuning
from reference.npu.process import NpuProcess
from reference.npu.toolchain import find_toolchain
from reference.npu.trace import NPU
from reference.process import ChildError, Limits, Tick


def link_models(
    models: Sequence[Path],
    device: Device,
    output: Path,
    *,
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> list[str]:
    """Compiles the ONNX files `models` for `device` into one context binary, `output`.

    Returns the names of the graphs in it, which the compiler chooses, in the order of `models`.
    `tick` is called with the seconds waited. Raises SubmissionError where the toolchain is missing,
    a model does not run whole on the NPU, and beyond `limits`.
    """
    find_toolchain()
    with NpuProcess("linking", tick, limits) as process:
        folder = process.scratch / "linked"
        folder.mkdir()
        try:
            answer = process.ask(
                "link",
                models=[str(model) for model in models],
                folder=str(folder),
                soc_model=device.soc_model,
                tuning=asdict(tuning),
            )
        except ChildError as error:
            raise SubmissionError(
                f"the models cannot be linked: {error}", "compile each alone first"
            ) from None
        left = {op for nodes in answer["nodes"] for provider, _, op in nodes if provider != NPU}
        binaries = list(folder.glob("*.bin"))
        if left or len(binaries) != 1:
            raise SubmissionError(
                f"the models do not fit one context binary: {', '.join(sorted(left)) or 'no graph'}"
                f" would run on the CPU",
                "write these operators in another way",
            )
        shutil.copyfile(binaries[0], output)
    graphs: list[str] = answer["graphs"]
    return graphs
