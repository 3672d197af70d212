"""Writes a report: JSON for programs, Markdown for a job's page, HTML to read, and a badge."""

import base64
import dataclasses
import html
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.report.badge import badge
from conformance.report.charts import bars, number
from conformance.report.document import SCHEMA, STATUSES, Report, Section, plural, statement
from conformance.report.palette import THEME
from conformance.report.summary import ranges
from conformance.report.terminal import Row
from reference.errors import SubmissionError, printable
from reference.install import install_command

if TYPE_CHECKING:
    import jinja2

# A GitHub job summary takes 1 MiB.
MOST_MARKDOWN_BYTES = 1_000_000
_TEMPLATES = Path(__file__).parent / "templates"
_WORDS = {"fail": "FAIL", "warn": "warn", "pass": "pass", "skip": "skip"}


def write_report(report: Report, target: Path) -> list[Path]:
    """Writes `report.json`, `.md`, `.html` and `badge.svg` into the folder `target`, or where it is
    a file the one that it ends like; each as a whole or not at all. What was written.
    """
    drafts = {path: path.with_name(f".{path.name}.part") for path in _files(target)}
    for path, draft in drafts.items():
        made = _MAKERS[path.suffix.lower()](report)
        draft.write_bytes(made.encode() if isinstance(made, str) else made)
    for path, draft in drafts.items():
        draft.replace(path)
    return list(drafts)


def check_target(target: Path) -> None:
    """Makes the folder; raises SubmissionError where no report can be written to `target`."""
    files = _files(target)
    if any(path.suffix in (".html", ".md") for path in files):
        need_jinja("--report")
    folder = files[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".report.part"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SubmissionError(
            f"--report {target} cannot be written ({error.strerror})", "name a folder of your own"
        ) from None


def need_jinja(option: str) -> None:
    """What is needed at the end of a run is missed at its start: raises SubmissionError."""
    try:
        import jinja2  # noqa: F401 - for this alone
    except ImportError:
        raise SubmissionError(
            f"{option} needs Jinja2, which is not installed", install_command("report")
        ) from None


def _files(target: Path) -> list[Path]:
    """What is written for `target`: a file, or all of them in a folder."""
    if target.suffix.lower() in _MAKERS and not target.is_dir():
        return [target]
    return [target / name for name in ("report.json", "report.md", "report.html", "badge.svg")]


def as_json(report: Report) -> str:
    """The report as JSON, to `docs/report.schema.json`; of pictures what they show."""
    document = {
        "schema": SCHEMA,
        "verdict": report.verdict,
        "sentence": report.sentence,
        "generator": report.generator,
        "created": report.created,
        "command": report.command,
        "complete": not report.ended,
        "ended": report.ended,
        "counts": report.counts,
        "subjects": [
            {
                "label": subject.label,
                "track": subject.track,
                "title": subject.title,
                "edition": subject.edition,
                "verdict": subject.verdict,
                "counts": subject.counts,
                "rules": [_rule(rule) for rule in subject.rules],
            }
            for subject in report.subjects
        ],
        "others": [dataclasses.asdict(other) for other in report.others],
        "sections": [_section(section) for section in report.sections],
        "environment": report.environment,
    }
    return json.dumps(_plain(document), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_markdown(report: Report) -> str:
    """The report as GitHub's Markdown, without pictures; cut where a job summary would end."""
    environment = _environment(html_page=False)
    environment.filters["cell"] = _cell
    text = environment.get_template("report.md.j2").render(**_names(report))
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    if len(text.encode()) <= MOST_MARKDOWN_BYTES:
        return text
    end = "\n\nCut here: a job summary takes no more. The whole is in report.html.\n"
    room = text.encode()[: MOST_MARKDOWN_BYTES - len(end)].decode(errors="ignore")
    return room.rpartition("\n")[0] + end


def as_html(report: Report) -> str:
    """The report as one HTML file that loads nothing and runs nothing."""
    return page("report.html.j2", **_names(report))


def page(template: str, **names: Any) -> str:
    """A page in the colours and the style of the report."""
    environment = _environment(html_page=True)
    environment.filters["data"] = lambda image: base64.b64encode(image).decode()
    environment.filters |= {"bars": bars, "number": number}
    environment.globals |= {"theme": THEME, "words": _WORDS, "statuses": STATUSES}
    return environment.get_template(template).render(names)


def _environment(*, html_page: bool) -> "jinja2.Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=html_page,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _names(report: Report) -> dict[str, Any]:
    names = {"statement": statement, "statuses": STATUSES, "ranges": ranges, "plural": plural}
    return {"report": report, **names}


def _plain(value: Any) -> Any:
    """The same without a character that UTF-8 or a terminal does not take."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value


def _rule(rule: Row) -> dict[str, str]:
    names = ("level", "seen", "expected", "source", "remedy", "again", "shown_by")
    own = {"id": rule.rule, "statement": statement(rule), "status": rule.status.lower()}
    return own | {name: getattr(rule, name) for name in names}


def _section(section: Section) -> dict[str, Any]:
    found = dataclasses.asdict(section)
    for figure in found["figures"]:
        del figure["image"]
    drawn = [figure["chart"] for figure in found["figures"] if figure["chart"]]
    for chart in (*found["charts"], *drawn):
        chart["values"] = [_finite(value) for value in chart["values"]]
        chart["spans"] = [[_finite(end) for end in ends] for ends in chart["spans"]]
    return found


def _finite(value: float) -> float | None:
    return value if abs(value) < 1e308 else None


def _cell(text: str) -> str:
    """Text for a cell of a table: nothing in it is markup, and it ends where the cell does."""
    flat = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~@#])", r"\\\1", flat)


_MAKERS: dict[str, Callable[[Report], str | bytes]] = {
    ".json": as_json,
    ".md": as_markdown,
    ".html": as_html,
    ".svg": lambda report: badge(report.verdict),
    ".pickle": pickle.dumps,  # for the process that has started this one
}
