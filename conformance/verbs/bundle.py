"""Write the folder that a finalist is asked for."""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from conformance.contract.evidence import Evidence
from conformance.contract.items import ContractWing
from conformance.environment import environment, pins
from conformance.fault import own_version
from conformance.outputs import made_room
from conformance.report.progress import stderr_progress
from conformance.report.rules import rules_table
from conformance.report.terminal import Row
from conformance.scoring.datasets import open_dataset
from conformance.scoring.engines import local
from conformance.scoring.score import Options, score_submission
from conformance.suite import Suite
from conformance.verbs import PATH, Found, in_json, limited, model_track
from conformance.verbs._models import held_to_the_gate
from reference.contract_file import contract_text
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import Track

_SCHEMA = 1
_BESIDE = Path(__file__).parent


@dataclass(frozen=True)
class Request:
    """What is bundled into which folder, with the score on which data and with which receipt."""

    track: str
    models: Sequence[str]
    output: Path
    data: Path | None = None
    receipt: Path | None = None


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[PART=]MODEL...")
@click.option("--track", required=True, metavar="TRACK")
@click.option("-o", "--output", type=PATH, required=True, metavar="FOLDER", help="Made new.")
@click.option("--data", type=PATH, metavar="DIR", help="A data set, to bundle the score on it.")
@click.option(
    "--receipt", type=PATH, metavar="FILE", help="What `lpcvc submit` kept of the same model."
)
@limited("loading the model or one forward pass")
@in_json
def command(limits: Limits, **asked: Any) -> Found:
    """Write the folder that a finalist is asked for: model, ONNX, contract, verdicts, score, exact
    versions, and how to run it all again. Exit code 1: the gate fails, or an item has no score.
    """
    return bundle(Request(**asked), limits)


def bundle(request: Request, limits: Limits) -> Found:
    """Writes the folder, complete or not at all; nothing in it depends on when or where.

    The rules pages ask the best teams (segmentation, 2025, section 5: the top 10; retrieval, 2026,
    section 5: the top 5) for "the converted ONNX model as well as detailed evaluation scripts", "in
    addition to the QNN model shared via AIHub", which is the compile job of the receipt. Raises
    SubmissionError where something is there already, cannot be opened or scored, or belongs to
    another model.
    """
    track = model_track(request.track)
    if request.data:
        open_dataset(track, request.data.resolve())  # told before minutes of work
    suite = Suite([request.track], request.models, None, [], limits=limits)
    with closing(suite), _made(request.output) as folder, stderr_progress() as line:
        rows, evidence = held_to_the_gate(ContractWing(suite), line)
        for _, graph in evidence.each_graph():
            if graph.form != "onnx":
                problem = f"{graph.path.name} is TFLite, and the organisers ask for ONNX"
                raise SubmissionError(problem, "give the ONNX that it was made of")
        line("copying the model")
        onnx = {
            part.name: _copied(graph.path, [e.location for e in graph.external], folder, part.name)
            for part, graph in evidence.each_graph()
        }
        own = _originals(evidence, folder)
        if request.receipt:
            _add_receipt(request.receipt, evidence, folder)
        score, code = "", 0
        named = len(onnx) > 1
        specs = [f"{part}={name}" if named else name for part, name in onnx.items()]
        if request.data:
            score, code = _score(track, request.data, onnx, folder, limits)
        contract = Path(track.file).read_text("utf-8") if track.file else contract_text(track)
        extras = ["score", *(["torch"] if own else [])]
        _write(folder / "contract.toml", contract)
        _write(folder / "rules.txt", rules_table(track, width=100) + "\n")
        _write(folder / "requirements.txt", "\n".join(pins(*extras)) + "\n")
        _write(folder / "verdicts.json", _json([_verdict(row) for row in rows]))
        _write(folder / "README.md", _readme(track, rows, specs, own, folder, extras))
        shutil.copyfile(_BESIDE / "_evaluate.py", folder / "evaluate.py")
        files = {name: _sha256(folder / name) for name in _names(folder)}
        kept = json.loads((folder / "scores.json").read_text("utf-8")) if score else None
        held = {"track": "contract.toml" if track.file else track.id, "submission": specs}
        versions = {"lpcvc-conformance": own_version(), **environment()}
        _write(
            folder / "bundle.json",
            _json({"schema": _SCHEMA, **held, "versions": versions, "files": files}),
        )
    broken = [row.rule for row in rows if row.status == "FAIL"]
    told = [f"{request.output}: {len(files) + 1} files", f"  gate   {_gate(rows)}"]
    told += [line for row in rows if row.status == "FAIL" for line in _why(row)]
    told += [f"  score  {line}" for line in score.splitlines()[:1]]
    document = {
        "folder": request.output,
        **held,
        "files": [*files, "bundle.json"],
        "rules": [_verdict(row) for row in rows],
        "score": kept,
    }
    return "\n".join(told), int(bool(broken) or code), document


@contextmanager
def _made(output: Path) -> Iterator[Path]:
    """A folder beside `output` that becomes it when all went well."""
    if output.exists():
        raise SubmissionError(f"{output} is there already", "give -o another folder")
    made_room(output)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".bundle-") as scratch:
        folder = Path(scratch) / output.name
        folder.mkdir()
        yield folder
        os.replace(folder, output)


def _copied(path: Path, beside: Sequence[str], folder: Path, part: str) -> str:
    """The place in `folder` of an ONNX file, whose external data come along."""
    own = folder / "onnx" / part
    for name in dict.fromkeys([path.name, *beside]):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, own / name)
    return (own / path.name).relative_to(folder).as_posix()


def _originals(evidence: Evidence, folder: Path) -> list[str]:
    """The places of the PyTorch models that the ONNX was made of, or the words of a factory."""
    places = []
    for part, _ in evidence.each_graph():
        model = evidence.submission.models[part.name]
        if model.format == "onnx":
            continue
        if not model.path.is_file():
            places.append(f"`{model.target}`, which is code and no file")
            continue
        own = folder / "original" / part.name
        own.mkdir(parents=True)
        shutil.copyfile(model.path, own / model.path.name)
        places.append(f"`{(own / model.path.name).relative_to(folder).as_posix()}`")
    return places


def _add_receipt(path: Path, evidence: Evidence, folder: Path) -> None:
    try:
        kept = {model["sha256"] for model in json.loads(path.read_text("utf-8"))["models"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise SubmissionError(
            f"{path} is no receipt of `lpcvc submit`", "give the file that it kept"
        ) from None
    graphs = dict(evidence.each_graph())
    mine = {
        _sha256(target if (target := evidence.submission.models[p.name].path).is_file() else g.path)
        for p, g in graphs.items()
    }
    if kept != mine:
        raise SubmissionError(f"{path} is of another model", "give the receipt of this one")
    shutil.copyfile(path, folder / "receipt.json")


def _score(
    track: Track, data: Path, onnx: dict[str, str], folder: Path, limits: Limits
) -> tuple[str, int]:
    """What the score says, and 1 where an item has none; it is kept in the folder."""
    specs = [f"{part}={folder / name}" for part, name in onnx.items()]
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
        options = Options(
            runtime="ort",
            device=track.device,
            engine=local,
            workers=1,
            limits=limits,
            results=Path(scratch) / "results.sqlite",
            keep=folder / "scores.json",
        )
        return score_submission(track, data, specs, options)


def _verdict(row: Row) -> dict[str, str]:
    return {name: getattr(row, name) for name in ("rule", "level", "status", "seen", "expected")}


def _gate(rows: Sequence[Row]) -> str:
    counts = {kind: [r.rule for r in rows if r.status == kind] for kind in ("pass", "FAIL", "warn")}
    told = [f"{len(counts['pass'])} rules pass"]
    told += [f"{', '.join(counts[kind])} {word}" for kind, word in _WORDS.items() if counts[kind]]
    return "; ".join(told)


def _why(row: Row) -> list[str]:
    wanted = f", expected {row.expected}" if row.expected else ""
    return [f"    {row.rule}: {row.seen}{wanted}", f"      -> {row.remedy}"]


_WORDS = {"FAIL": "broken", "warn": "broken, which is advice alone"}


def _readme(
    track: Track,
    rows: Sequence[Row],
    specs: Sequence[str],
    originals: Sequence[str],
    folder: Path,
    extras: Sequence[str],
) -> str:
    scored = (folder / "scores.json").is_file()
    places = {
        ", ".join(f"`{spec.rpartition('=')[2]}`" for spec in specs): "the ONNX model",
        ", ".join(originals): "what it was exported from",
        "`receipt.json`": "the compile jobs on AI Hub that were shared with the organisers",
        "`contract.toml`": "what the model takes and answers",
        "`rules.txt`": "the rules of the track",
        "`verdicts.json`": f"what each rule of the contract saw: {_gate(rows)}",
        "`scores.json`": "the score, and the SHA-256 of the data that it is of",
        "`requirements.txt`": f"exact versions, on Python {platform.python_version()}",
        "`bundle.json`": "the SHA-256 of each file, and the machine's versions",
        "`evaluate.py`": "runs it all again",
    }
    there = {"`receipt.json`": (folder / "receipt.json").is_file(), "`scores.json`": scored}
    rows_of = [f"| {k} | {v} |" for k, v in places.items() if k and there.get(k, True)]
    runtime = f"compiled with `{track.compile_options}`" if track.compile_options else "as it comes"
    return "\n".join(
        [
            f"# {track.title}",
            "",
            f"For {track.device}, {runtime} by AI Hub. Budget: {track.budget}. Score:"
            f" {track.metric}.",
            "",
            "| file | what it is |",
            "|---|---|",
            *rows_of,
            "",
            "## Run it again",
            "",
            f"In a checkout of lpcvc-conformance {own_version()}, or with the name of its wheel in"
            " place of the dot:",
            "",
            "```console",
            f"$ pip install -c path/to/this/requirements.txt '.[{','.join(extras)}]'",
            "$ python evaluate.py              # the files, and every rule",
            "$ python evaluate.py path/to/data # the score too",
            "```",
            "",
            "Everything here was computed on a host with onnxruntime; latency is a device's and is"
            " not in this folder.",
            "",
        ]
    )


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(document: object) -> str:
    return json.dumps(document, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
