"""The log of a job: what it printed, and its tools, without where on this machine things lie."""

import faulthandler
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from reference.aihub.records import JobRecord

LOG_NAME = "job.log"
_MOST_BYTES = 8 << 20
_PACKAGE = Path(__file__).parents[2]


def begin_log(path: Path, job: JobRecord) -> None:
    """From here on this process prints into the file `path`, crashes too."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable()
    asked = job.asked
    _say(f"{job.listed_kind} job {job.id}, attempt {job.attempt}, of {', '.join(asked.models)}")
    for name, text in (
        ("device", ", ".join(asked.devices)),
        ("options", asked.options),
        ("data", asked.dataset),
    ):
        if text:
            print(f"{name}: {text}", flush=True)


def end_log(path: Path, job: JobRecord, state: Path) -> Path:
    """Writes how the job ended, and takes the paths of this machine out of what was printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    printed = b""
    if path.exists():
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MOST_BYTES))
            printed = file.read()
    took = "" if job.started is None else f" after {(job.finished or 0) - job.started:.1f} s"
    how = f"failed{took}: {job.failure}" if job.failure else f"done{took}"
    text = scrubbed(printed.decode(errors="replace"), state)
    path.write_text(f"{text}{_now()}  {how}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def scrubbed(text: str, state: Path) -> str:
    """`text` with the folders of the hub at `state`, and of its machine, by what they are for.

    Names of nodes look like paths: no others are touched.
    """
    for folder, name in _folders(state):
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w.-])", name, text)
    return text


def _folders(state: Path) -> list[tuple[str, str]]:
    from reference.cache import default_folder

    named = {
        state / "scratch": "JOBS",
        state: "HUB",
        default_folder(): "CACHE",
        _PACKAGE: "LPCVC",
        Path(sys.prefix): "PYTHON",
        Path(sys.base_prefix): "PYTHON",
        Path(os.environ.get("TMPDIR", tempfile.gettempdir())): "TMP",
        Path(tempfile.gettempdir()): "TMP",
        Path.home(): "~",
        Path.cwd(): "WORK",
    }
    both = [(str(form), name) for path, name in named.items() for form in {*_forms(path)}]
    return sorted((each for each in both if each[0] != "/"), key=lambda each: -len(each[0]))


def _forms(path: Path) -> list[Path]:
    return [path.absolute(), path.resolve()]


def _say(text: str) -> None:
    print(f"{_now()}  {text}", flush=True)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
