"""Say what this machine can check, and what is missing."""

import configparser
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from conformance.device.hub import Hub, configuration
from conformance.environment import installed
from conformance.report.progress import stderr_progress
from conformance.submission.graph import megabytes
from conformance.submission.standard import MAX_IR, MAX_OPSET
from conformance.verbs import Found, in_json
from reference.cache import Cache, default_limit
from reference.errors import SubmissionError, one_line
from reference.install import PROJECT, install_command
from reference.npu.devices import all_devices
from reference.npu.toolchain import find_toolchain
from reference.process import available_memory

if TYPE_CHECKING:
    from packaging.requirements import Requirement

State = Literal["ok", "missing", "clash"]

_IMPORT_SECONDS = 120.0
# Imported in a process of their own: a broken one may end it.
_RUNTIMES = {
    "onnxruntime": "import onnxruntime as o; print(', '.join(o.get_available_providers()))",
    "torch": "import torch as t; print('CUDA' if t.cuda.is_available() else 'CPU')",
}
_OURS = ("dev", "docs")  # extras that work on this project takes, and its use does not
_CLIENTS = ("qai-hub", "qai-hub-models", "transformers", "onnxruntime-qnn")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it stands, what was seen and the command that helps.

    `broken` is what makes the exit code 1: something is installed and does not work.
    """

    topic: str
    state: State
    seen: str
    remedy: str = ""
    broken: bool = False


@click.command()
@in_json
@click.option("--online", is_flag=True, help="Ask AI Hub too, if it is configured.")
def command(online: bool) -> Found:
    """Say what this machine can check, what is missing for the rest, and which versions clash. Exit
    code 1: something is installed and does not work.
    """
    with stderr_progress() as progress:
        found = examine(online=online, progress=progress)
    code = int(any(finding.broken for finding in found))
    return "\n".join(_lines(found)), code, found


def _lines(found: Sequence[Finding]) -> list[str]:
    width = max(len(finding.topic) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{finding.state:<7}  {finding.topic:<{width}}  {finding.seen}")
        if finding.remedy:
            lines.append(f"{'':<7}  {'':<{width}}  -> {finding.remedy}")
    return lines


def examine(*, online: bool, progress: Callable[[str], None]) -> list[Finding]:
    """Everything there is to say of this machine; the network is used only where `online`."""
    found: list[Finding] = []
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": _python,
        "packages": _extras,
        "versions": _clashes,
        **{name: partial(_runtime, name, script) for name, script in _RUNTIMES.items()},
        "the NPU compiler": _npu,
        "the machine": _machine,
        "the cache": _cache,
        "AI Hub": partial(_hub, online),
    }
    for index, (name, look) in enumerate(looks.items()):
        progress(f"looking at {name}, {100 * index // len(looks)} %")
        found += look()
    return found


def _python() -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _extras() -> Iterator[Finding]:
    """Each extra with its packages: `pip install` brings what is missing."""
    own = _own_requirements()
    names = dict.fromkeys(extra for extra, _ in own)
    for name in names:
        wanted = [requirement for extra, requirement in own if extra == name]
        seen = ", ".join(f"{r.name} {installed(r.name) or 'missing'}" for r in wanted)
        missing = [r.name for r in wanted if installed(r.name) is None]
        topic = f"extra {name}" if name else "the suite itself"
        remedy = install_command(name) if missing else ""
        yield Finding(topic, "missing" if missing else "ok", seen, remedy)


def _clashes() -> Iterator[Finding]:
    """Versions that an installed package does not accept, and files that AI Hub does not read."""
    asked = [(PROJECT, requirement) for _, requirement in _own_requirements()]
    asked += [(name, r) for name in _CLIENTS for r in _requirements(name, "")]
    found = False
    for owner, name, wanted in dict.fromkeys((o, r.name, r.specifier) for o, r in asked):
        version = installed(name)
        if version and not wanted.contains(version, prereleases=True):
            found = True
            seen = f"{name} {version}, and {owner} needs {wanted}"
            yield Finding("versions", "clash", seen, f"pip install '{name}{wanted}'", broken=True)
    yield from _onnx_writer()
    if not found:
        checked = ", ".join(name for name in (PROJECT, *_CLIENTS) if installed(name))
        yield Finding("versions", "ok", f"all within what these ask for: {checked}")


def _onnx_writer() -> Iterator[Finding]:
    """The versions that the onnx package writes where nothing else is said (rule COM-3).

    No clash: what writes models here says its versions.
    """
    import onnx

    ir, opset = int(onnx.IR_VERSION), int(onnx.defs.onnx_opset_version())
    if ir > MAX_IR or opset > MAX_OPSET:
        seen = (
            f"onnx {onnx.__version__} writes IR {ir} and opset {opset} where nothing is said,"
            f" and AI Hub reads IR {MAX_IR} and opset {MAX_OPSET} at most (COM-3)"
        )
        yield Finding(
            "versions",
            "ok",
            seen,
            "save with ir_version=10 and opset_version=17, or pip install 'onnx<=1.18.0'",
        )


def _runtime(name: str, script: str) -> Iterator[Finding]:
    version = installed(name)
    if version is None:
        yield Finding(name, "missing", "not installed", _bringing(name))
        return
    problem, said = _run(script)
    if problem:
        remedy = f"pip install --force-reinstall {name}=={version}"
        yield Finding(name, "clash", f"{version}: {problem}", remedy, broken=True)
    else:
        yield Finding(name, "ok", f"{version}, {said}")


def _npu() -> Iterator[Finding]:
    known = f"{len(all_devices())} devices known"
    try:
        yield Finding("NPU compiler", "ok", f"{find_toolchain()}; {known}")
    except SubmissionError as error:
        yield Finding("NPU compiler", "missing", error.problem, error.remedy)


def _machine() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    seen = f"{available_memory() / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB of disk free"
    yield Finding("machine", "ok", f"{os.cpu_count()} processors, {seen}")


def _cache() -> Iterator[Finding]:
    cache = Cache()
    if not cache.writable:
        seen = f"{cache.folder} cannot be written"
        yield Finding(
            "cache", "clash", seen, "set LPCVC_CACHE to a folder of your own", broken=True
        )
        return
    entries = cache.entries()
    size, limit = megabytes(sum(entry.size for entry in entries)), default_limit()
    seen = f"{cache.folder}: {len(entries)} models, {size} of {limit / 1e9:g} GB"
    yield Finding("cache", "ok", seen)


def _hub(online: bool) -> Iterator[Finding]:
    """The configuration of the client of AI Hub; its token is never shown."""
    if installed("qai-hub") is None:
        yield Finding("AI Hub", "missing", "qai-hub is not installed", install_command("hub"))
        return
    configure = "qai-hub configure --api_token TOKEN"
    path = configuration()
    if path is None:
        yield Finding("AI Hub", "missing", "the client is not configured", configure)
        return
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
        url, token = parser.get("api", "api_url"), parser.get("api", "api_token")
    except (configparser.Error, UnicodeDecodeError):
        seen = f"{path} has no address and token that can be read"
        yield Finding("AI Hub", "clash", seen, configure, broken=True)
        return
    seen = f"{path}: {url}, {'a token is set' if token else 'no token'}"
    if not token or not online:
        state: State = "ok" if token else "missing"
        note = "; not asked: give --online" if token else ""
        yield Finding("AI Hub", state, seen + note, "" if token else configure)
        return
    hub = Hub("remote")
    try:
        devices = hub.ask(lambda: hub.client.get_devices())
        yield Finding("AI Hub", "ok", f"{seen}; the {hub.name} lists {len(devices)} devices")
    except SubmissionError as error:
        yield Finding("AI Hub", "clash", f"{seen}; {error.problem}", error.remedy, broken=True)


def _own_requirements() -> "list[tuple[str, Requirement]]":
    """What this project asks of its users, by extra; "" is what it always needs."""
    try:
        extras = distribution(PROJECT).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return []
    base = _requirements(PROJECT, "")
    named = {str(requirement) for requirement in base}
    found = [("", requirement) for requirement in base]
    for extra in (extra for extra in extras if extra not in _OURS):
        own = [r for r in _requirements(PROJECT, extra) if str(r) not in named]
        found += [(extra, r) for r in own if r.name != PROJECT]
    return found


def _requirements(package: str, extra: str) -> "list[Requirement]":
    """What a package asks for on this platform, with one of its extras; none if it is missing."""
    from packaging.requirements import Requirement

    try:
        lines = distribution(package).requires or []
    except PackageNotFoundError:
        return []
    parsed = [Requirement(line) for line in lines]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": extra})]


def _bringing(package: str) -> str:
    """The command for `package`: the extra that asks for it, or the package itself."""
    extras = [extra for extra, r in _own_requirements() if r.name == package]
    return install_command(extras[0]) if extras else f"pip install '{package}'"


def _run(script: str) -> tuple[str, str]:
    """(what went wrong, what was printed) of a script in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=_IMPORT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {_IMPORT_SECONDS:.0f} s", ""
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return one_line(last), ""
    return "", one_line(done.stdout)
