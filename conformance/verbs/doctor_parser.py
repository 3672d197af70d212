"""`lpcvc doctor`: what this machine can check."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from conformance.verbs import Answer

if TYPE_CHECKING:
    from conformance.verbs import Verbs
    from conformance.verbs.doctor import Finding


def add_to(verbs: "Verbs") -> None:
    """Adds the parser."""
    doctor = verbs.add_parser("doctor", help="say what this machine can check, and what is missing")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--online", action="store_true", help="ask AI Hub too, if it is configured")
    doctor.set_defaults(verb=_doctor)


def _doctor(options: argparse.Namespace) -> Answer:
    from conformance.report.progress import stderr_progress
    from conformance.verbs.doctor import examine

    line = stderr_progress()
    found = examine(online=options.online, progress=line)
    line.clear()
    code = int(any(finding.broken for finding in found))
    if options.json:
        return json.dumps([dataclasses.asdict(finding) for finding in found], indent=1), code
    return "\n".join(_lines(found)), code


def _lines(found: "Sequence[Finding]") -> list[str]:
    width = max(len(finding.topic) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{finding.state:<7}  {finding.topic:<{width}}  {finding.seen}")
        if finding.remedy:
            lines.append(f"{'':<7}  {'':<{width}}  -> {finding.remedy}")
    return lines
