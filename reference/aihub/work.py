"""Does a job: files in, files and figures out."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from reference.aihub.checks import check_options
from reference.aihub.jobs.bench import Bench
from reference.aihub.jobs.compile import compile_job
from reference.aihub.jobs.inference import inference_job
from reference.aihub.jobs.link import link_job
from reference.aihub.jobs.quantize import quantize_job
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    LinkTask,
    QuantizeTask,
    Result,
    Task,
    TaskError,
)
from reference.errors import SubmissionError, ToolError
from reference.process import Limits


def run(
    task: Task, folder: Path, limits: Limits, tick: Callable[[float], None] | None = None
) -> Result:
    """Does `task`; what it makes lies in `folder`, which is made if need be.

    Models and compilers run in child processes within `limits`. `tick` is called with the seconds
    waited for the present one, twice a second. Raises TaskError with the reason where the job
    cannot be done, and ToolError where a tool of the hub's crashes.
    """
    check_options(task)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".scratch-") as scratch:
            bench = Bench(folder, Path(scratch).resolve(), limits, tick or (lambda seconds: None))
            return _job(task, bench)
    except ToolError:
        raise
    except SubmissionError as error:
        raise TaskError(str(error)) from None


def _job(task: Task, bench: Bench) -> Result:
    match task:
        case CompileTask():
            return compile_job(task, bench)
        case QuantizeTask():
            return quantize_job(task, bench)
        case LinkTask():
            return link_job(task, bench)
        case InferenceTask():
            return inference_job(task, bench)
