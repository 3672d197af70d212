"""What a CI job runs: `python -m conformance.ci`, with the inputs of action.yml in the environment.

`requirement` says what to install and `wheels` names the cache of pip, for which the standard
library is enough; `key` names the cache of compiled models; `gate` runs the suites and keeps their
exit code; a folder with a report shows it: its Markdown in the job's summary, and an annotation for
each rule that is broken.
"""

import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.command import suite_arguments
from conformance.fault import guarded
from conformance.marker import markers
from reference.closest import unknown
from reference.errors import SubmissionError, printable

EXTRAS = {name: marker.extras for name, marker in markers().items()}
# GitHub shows ten annotations of a kind for a step, and cuts a summary of more than 1 MiB.
MOST_ANNOTATIONS = 10
_KINDS = {"fail": "error", "warn": "warning"}
_ONNX = (".onnx", ".zip")
_KERAS = (".keras", ".h5", ".hdf5")


def requirement(source: str, environ: Mapping[str, str]) -> str:
    """What pip is to install: the project at `source` with the extras that the inputs need."""
    extras = {"report", *(extra for suite in _suites(environ) for extra in EXTRAS[suite])}
    targets = [_target(spec) for spec in _lines(environ, "SUBMISSION")]
    extras.update(filter(None, map(_extra, targets)) if targets else ["torch"])
    return f"{source}[{','.join(sorted(extras))}]"


def wheels(source: Path) -> dict[str, str]:
    """The folder that pip keeps downloads in, and the key of what these pins download.

    setup-python's own cache takes no file outside of the workspace, where an action is.
    """
    pins = hashlib.sha256((source / "constraints.txt").read_bytes()).hexdigest()[:16]
    folder = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True)
    return {"wheels": folder.strip(), "pins": f"lpcvc-wheels-{sys.version_info.minor}-{pins}"}


def gate_arguments(environ: Mapping[str, str]) -> list[str]:
    """The arguments of pytest."""
    report = environ.get("LPCVC_REPORT", "").strip()
    if not report:
        raise SubmissionError("LPCVC_REPORT is not set", "set it to the folder for the report")
    return suite_arguments(
        _suites(environ),
        track=_lines(environ, "TRACK"),
        submission=_lines(environ, "SUBMISSION"),
        device=_lines(environ, "DEVICE"),
        baseline=_lines(environ, "BASELINE"),
        strict=_truth(environ, "STRICT"),
        report=report,
    )


def cache_key(environ: Mapping[str, str]) -> str:
    """`lpcvc-QNN-MODEL`: what was compiled holds for one toolchain and one content.

    A wrong key costs a compilation and no more: the cache itself goes by content.
    """
    sha = hashlib.sha256()
    for spec in _lines(environ, "SUBMISSION"):
        for file in _files(Path(_target(spec))):
            with file.open("rb") as stream:
                sha.update(hashlib.file_digest(stream, "sha256").digest())
    return f"lpcvc-{_qnn()}-{sha.hexdigest()[:16]}"


def annotations(report: Mapping[str, Any]) -> list[str]:
    """GitHub's workflow commands for what a report (docs/report.schema.json) says is broken."""
    broken = [
        (subject["label"], rule)
        for subject in report["subjects"]
        for rule in subject["rules"]
        if rule["status"] in _KINDS
    ]
    broken.sort(key=lambda pair: pair[1]["level"] != "required")
    shown = []
    for status, kind in _KINDS.items():
        own = [_of_rule(kind, label, rule) for label, rule in broken if rule["status"] == status]
        own += [
            command(kind, other["id"], other["seen"])
            for other in report["others"]
            if other["status"] == status
        ]
        left = len(own) - MOST_ANNOTATIONS
        if left > 0:
            more = f"{left + 1} more are in the summary and in report.html"
            own = [*own[: MOST_ANNOTATIONS - 1], command(kind, "lpcvc", more)]
        shown += own
    return shown if report["complete"] else [command("error", "lpcvc", report["sentence"]), *shown]


def command(kind: str, title: str, message: str) -> str:
    """`::error title=SEG-7::...`, with what would end the value or the command escaped."""
    for sign, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        title, message = title.replace(sign, escaped), message.replace(sign, escaped)
    title = title.replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{message}"


def show(folder: Path, environ: Mapping[str, str]) -> None:
    """Prints the annotations and adds the report to the job's summary, if there is one."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        summary = (folder / "report.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        summary = "The gate ended before it had a report; its log says why.\n"
        print(command("error", "lpcvc", summary.strip()))
    else:
        for line in annotations(report):
            print(printable(line))
    if "GITHUB_STEP_SUMMARY" in environ:
        with Path(environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as page:
            page.write(summary)


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Does what the first of `arguments` says; one annotation for an input that is wrong (exit
    code 2) and for a fault of this program (3).
    """

    def run() -> int:
        match arguments:
            case ["requirement", source]:
                print(requirement(source, environ))
            case ["wheels", source]:
                print(
                    *(f"{name}={value}" for name, value in wheels(Path(source)).items()), sep="\n"
                )
            case ["key"]:
                print(f"key={cache_key(environ)}")
                print(f"toolchain=lpcvc-{_qnn()}-")
            case ["gate"]:
                return _gate(gate_arguments(environ), environ)
            case [folder]:
                show(Path(folder), environ)
            case _:
                raise SubmissionError(
                    "nothing to do", "give requirement or wheels SOURCE, key, gate or DIR"
                )
        return 0

    return guarded(run, lambda line: print(command("error", "lpcvc", line), file=sys.stderr))


def _gate(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs pytest; names in a stranger's model, which it prints, are no commands to GitHub."""
    token = secrets.token_hex(16) if "GITHUB_ACTIONS" in environ else ""
    if token:
        print(f"::stop-commands::{token}", flush=True)
    code = subprocess.call([sys.executable, "-m", "pytest", *arguments])
    if token:
        print(f"::{token}::", flush=True)
    return code


def _of_rule(kind: str, label: str, rule: Mapping[str, str]) -> str:
    expected = f", expected {rule['expected']}" if rule["expected"] else ""
    text = f"{label}: {rule['seen']}{expected}\n{rule['statement']}\nremedy: {rule['remedy']}"
    return command(kind, rule["id"], text)


def _lines(environ: Mapping[str, str], name: str) -> list[str]:
    return [line.strip() for line in environ.get(f"LPCVC_{name}", "").splitlines() if line.strip()]


def _suites(environ: Mapping[str, str]) -> list[str]:
    found = " ".join(_lines(environ, "SUITES")).replace(",", " ").split() or ["contract"]
    found += ["regression"] if _lines(environ, "BASELINE") else []
    for name in found:
        if name not in EXTRAS:
            raise unknown(f"no suite is called {name!r}", name, EXTRAS)
    return list(dict.fromkeys(found))


def _truth(environ: Mapping[str, str], name: str) -> bool:
    word = " ".join(_lines(environ, name)).lower() or "false"
    if word not in ("true", "false"):
        raise SubmissionError(f"{name.lower()} cannot be {word!r}", "give true or false")
    return word == "true"


def _target(spec: str) -> str:
    part, equals, target = spec.partition("=")
    return target if equals and part.isidentifier() and not os.path.exists(spec) else spec


def _extra(target: str) -> str:
    """What a submission needs beside ONNX's own."""
    path = Path(target)
    if path.suffix.lower() in _KERAS or (path / "saved_model.pb").is_file():
        return "tensorflow"
    if path.suffix.lower() == ".tflite":
        return "tflite"
    return "" if path.is_dir() or path.suffix.lower() in _ONNX else "torch"


def _files(path: Path) -> list[Path]:
    """Those of a folder; of a file itself and its external data, such as `my.onnx.data`."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        return []
    beside = (file for file in path.parent.iterdir() if file.name.startswith(path.name))
    return sorted(file for file in beside if file.is_file())


def _qnn() -> str:
    try:
        return version("onnxruntime-qnn")
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
