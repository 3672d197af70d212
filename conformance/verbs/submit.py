"""Check, compile and share with the organisers."""

import datetime
import hashlib
import json
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from conformance.contract.evidence import Evidence
from conformance.contract.items import ContractWing
from conformance.device.hub import Hub, HubKind, import_client
from conformance.device.jobs import ORGANISERS, share, submit_compile, wait
from conformance.outputs import made_room
from conformance.report.progress import ProgressLine, stderr_progress
from conformance.report.terminal import Row
from conformance.suite import Suite
from conformance.verbs import PATH, Found, held_to_a_track, in_json, limited, model_track, on_hub
from conformance.verbs._models import held_to_the_gate
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import Part, Track

_SCHEMA = 1


@dataclass(frozen=True)
class Request:
    """What is to be submitted, and by whom. `receipt` is the file that is to prove it."""

    track: str
    submission: Sequence[str]
    team: str
    receipt: Path
    device: str | None = None
    hub: HubKind = "remote"
    force: bool = False


@click.command()
@held_to_a_track
@on_hub("remote")
@click.option("--device", metavar="NAME", help="Default: the track's.")
@click.option("--team", required=True, metavar="NAME", help="The name on the form.")
@click.option(
    "--receipt",
    type=PATH,
    default=Path("receipt.json"),
    metavar="FILE",
    help="Where to keep what was submitted.",
)
@click.option("--force", is_flag=True, help="Submit although the gate fails.")
@limited("loading the model or one forward pass")
@in_json
def command(limits: Limits, **asked: Any) -> Found:
    """Hold a submission to the gate, compile it on AI Hub and share the jobs with the organisers;
    then say what their form asks for, and where it is.
    """
    text, receipt = submit(Request(**asked), limits)
    return text, 0, receipt


def submit(request: Request, limits: Limits) -> tuple[str, dict[str, Any]]:
    """Holds the models to the contract, compiles them on AI Hub and shares the jobs; what to say,
    and the receipt.

    The receipt is written at the end. Raises SubmissionError where the gate fails and nothing
    forces it, and where AI Hub refuses or fails a job: nothing is shared then.
    """
    if made_room(request.receipt).exists():
        raise SubmissionError(f"{request.receipt} is there already", "give --receipt another file")
    import_client()
    model_track(request.track)
    suite = Suite([request.track], request.submission, None, [], limits=limits)
    gate = ContractWing(suite)
    hub = Hub(request.hub, limits)
    with closing(suite), closing(hub), stderr_progress() as line:
        local = hub.local  # asked first: the gate takes minutes, and nothing may answer
        rows, evidence = held_to_the_gate(gate, line)
        broken = [row.rule for row in rows if row.status == "FAIL"]
        if broken and not request.force:
            raise SubmissionError(
                f"the gate fails: {', '.join(broken)} {'is' if len(broken) == 1 else 'are'} broken",
                f"mend them (pytest --pyargs conformance -m contract {' '.join(suite.options)}"
                f" --track {request.track} tells how), or give --force",
            )
        jobs = _compile(hub, request, evidence, line)
        for job in jobs.values():
            share(hub, job)
    receipt = _receipt(request, evidence, rows, jobs, local)
    request.receipt.write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
    return _form(request, gate.assessments[0].evidence.track, jobs, broken, local), receipt


def _compile(hub: Hub, request: Request, evidence: Evidence, line: ProgressLine) -> dict[str, Any]:
    track = evidence.track
    device = hub.device(request.device or track.device)
    jobs = {}
    for part, graph in evidence.each_graph():
        line(f"uploading the {part.name} part")
        model = evidence.submission.models[part.name]
        with tempfile.TemporaryDirectory(prefix="lpcvc-upload-") as folder:
            jobs[part.name] = submit_compile(
                hub, device, track, part, model, graph.path, Path(folder)
            )
    for name, job in jobs.items():
        reason = hub.ask(partial(wait, job, line))
        if reason:
            raise SubmissionError(
                f"compile job {job.job_id} ({name} part) failed: {reason}",
                "nothing was shared; `pytest -m device` shows what else is wrong",
            )
    return jobs


def _receipt(
    request: Request, evidence: Evidence, rows: list[Row], jobs: dict[str, Any], local: bool
) -> dict[str, Any]:
    report = [vars(row) for row in rows]
    return {
        "schema": _SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "team": request.team,
        "track": evidence.track.id,
        "rehearsal": local,
        "forced": request.force,
        "shared_with": None if local else ORGANISERS,
        "models": [_model(part, evidence) for part, _ in evidence.each_graph()],
        "compile_jobs": {name: str(job.job_id) for name, job in jobs.items()},
        "report_sha256": _sha256(json.dumps(report, sort_keys=True).encode()),
        "report": report,
    }


def _model(part: Part, evidence: Evidence) -> dict[str, str]:
    target = evidence.submission.models[part.name].path
    path = target if target.is_file() else evidence.graphs[part.name].path
    return {"part": part.name, "file": path.name, "sha256": _sha256(path.read_bytes())}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _form(
    request: Request, track: Track, jobs: dict[str, Any], broken: list[str], local: bool
) -> str:
    lines = [f"team            {request.team}", f"track           {request.track}"]
    lines += [f"compile job ID  {job.job_id}  ({name})" for name, job in jobs.items()]
    shared = "nobody: a local hub tells it to no one" if local else ORGANISERS
    lines += [f"shared with     {shared}", f"receipt         {request.receipt}"]
    if broken:
        lines.append(f"forced          although the gate fails: {', '.join(broken)}")
    if local:
        lines.append("A rehearsal on a local hub: nothing was sent to the organisers.")
    else:
        lines.append("Fill in the track's submission form with these, one form for each model.")
        places = {"submission form": track.form, "leaderboard": track.leaderboard}
        for what, address in places.items():
            lines.append(f"{what} of {track.id}: {address or 'its documents give no address'}")
    return "\n".join(lines)
