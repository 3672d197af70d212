"""The rulebook as text: a table for the terminal, one rule in full, and the page of the docs."""

import shutil
import textwrap
from typing import Any

from conformance.rulebook import (
    LEVEL_MEANING,
    Needs,
    Rule,
    all_rules,
    device_rules_for,
    npu_rules_for,
    rules_for,
    rules_of,
    tracks_of,
)
from reference.closest import did_you_mean
from reference.errors import SubmissionError
from reference.registry import all_tracks, default_tracks
from reference.tracks import Track, format_shape

_EVERY = {"COM": "Every track"}
_LATER = {
    "IMG": "Models that take a picture",
    "TXT": "Models that take a text",
    "NPU": "On the NPU of a device (`pytest -m npu`)",
    "DEV": "On a device of AI Hub (`pytest -m device`)",
}
_LOOKED_AT: dict[Needs, str] = {
    "graph": "the file, nothing is run",
    "package": "the files of the package, nothing is run",
    "runs": "the answers to the probes",
    "device": "jobs on AI Hub, Qualcomm's or a local one",
    "npu": "what Qualcomm's compiler makes of the file, and its emulator's answers",
}


def rules_table(track: Track | None, width: int = 0) -> str:
    """One line a rule: id, level, statement; as wide as the terminal, unless `width` says."""
    rules = _rules_of(track)
    width = width or shutil.get_terminal_size((100, 24)).columns
    lines = []
    longest = max(len(rule.id) for rule in rules)
    for rule in rules:
        head = f"{rule.id:<{longest}}  {rule.level.value:<10}  "
        lines += textwrap.wrap(
            rule.summary, width, initial_indent=head, subsequent_indent=" " * len(head)
        )
    return "\n".join(lines)


def _rules_of(track: Track | None) -> list[Rule]:
    """All of them, or those of a track."""
    if track is None:
        return list(all_rules().values())
    return rules_for(track, torch=True) + npu_rules_for(track) + device_rules_for(track)


def rules_facts(track: Track | None, rule_id: str | None) -> list[dict[str, Any]]:
    """The rules as values: all, those of a track, or the one of that id."""
    found = []
    for rule in [_find(rule_id, track)] if rule_id else _rules_of(track):
        tracks = tracks_of(rule) or ([track] if track else [])
        found.append(
            {
                "id": rule.id,
                "level": rule.level.value,
                "statement": rule.summary,
                "text": rule.text,
                "needs": rule.needs,
                "tracks": [own.id for own in tracks],
                "sources": list(dict.fromkeys(rule.source_for(own) for own in tracks)),
                "remedy": rule.remedy,
            }
        )
    return found


def _find(rule_id: str, track: Track | None) -> Rule:
    """The rule of that id, which may be of a `track` that is not installed; raises SubmissionError
    if there is none.
    """
    known = all_rules() | ({rule.id: rule for rule in rules_of(track)} if track else {})
    rule = known.get(rule_id.upper())
    if rule is None:
        near = did_you_mean(rule_id, known)
        raise SubmissionError(
            f"no rule is called {rule_id!r}", f"{near} `lpcvc rules` lists them all".strip()
        )
    return rule


def rules_explained(rule_id: str, track: Track | None = None) -> str:
    """Everything about one rule, which may be of a `track` that is not installed.

    Raises SubmissionError if there is none of that id.
    """
    rule = _find(rule_id, track)
    tracks = tracks_of(rule) or ([track] if track else [])
    fields = {
        "level": f"{rule.level.value}: {LEVEL_MEANING[rule.level]}",
        "tracks": ", ".join(_names(tracks)),
        "looks at": _looks_at(rule),
        "source": _sources(rule, tracks),
        "remedy": rule.remedy,
    }
    body = (f"{name:<9} {text}" for name, text in fields.items())
    return "\n\n".join([f"{rule.id}  {rule.text}", "\n".join(body)])


def rules_markdown() -> str:
    """`docs/rules.md`: the levels, the tracks, and every rule."""
    parts = [
        "# The rulebook",
        "Written by `lpcvc rules --markdown` from the rules themselves; a test keeps it current.",
        "## Levels",
        "\n".join(f"- **{level.value}**: {meaning}." for level, meaning in LEVEL_MEANING.items()),
        "By default a broken required or documented rule fails the gate and advice warns."
        " `--as-evaluated` lets documented rules warn, `--strict` fails advice too.",
        "## Tracks",
        *(_track_markdown(track) for track in all_tracks().values()),
    ]
    rules = all_rules().values()
    own = {track.prefix: track.name.capitalize() for track in all_tracks().values()}
    for prefix, heading in (_EVERY | own | _LATER).items():
        parts += [f"## {heading}", *(_rule_markdown(r) for r in rules if r.id.startswith(prefix))]
    return "\n\n".join(parts)


def _track_markdown(track: Track) -> str:
    rows = [
        f"| {part.name} | {tensor.name or 'any name'} | {'/'.join(tensor.dtypes)} "
        f"| {format_shape(tensor.shape)} | {way}: {tensor.meaning} |"
        for part in track.parts
        for way, tensors in (("in", part.inputs), ("out", (part.output,)))
        for tensor in tensors
    ]
    if track.has("package"):
        return "\n".join(
            [
                f"### `{track.id}`",
                "",
                f"{track.title}. One submission is a package, with rules of its own alone. Device:"
                f" {track.device}; speed: {track.budget}; score: {track.metric}.",
                "",
                f"Sources: {'; '.join(track.sources)}.",
            ]
        )
    options = f"`{track.compile_options}`" if track.compile_options else "AI Hub's defaults"
    return "\n".join(
        [
            f"### `{track.id}`",
            "",
            f"{track.title}. Device: {track.device}; compile options: {options};"
            f" latency: {track.budget}; score: {track.metric}.",
            "",
            "| part | tensor | type | shape | |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Sources: {'; '.join(track.sources)}.",
        ]
    )


def _rule_markdown(rule: Rule) -> str:
    tracks = tracks_of(rule)
    names = _names(tracks)
    every = [track for track in default_tracks().values() if track.parts]
    where = "" if len(names) in (1, len(every)) else f" Tracks: {', '.join(names)}."
    return "\n".join(
        [
            f"### {rule.id} ({rule.level.value})",
            "",
            rule.text,
            "",
            f"- Looks at: {_looks_at(rule)}.{where}",
            f"- Source: {_sources(rule, tracks)}.",
            f"- Remedy: {rule.remedy}.",
        ]
    )


def _looks_at(rule: Rule) -> str:
    what = _LOOKED_AT[rule.needs]
    return f"{what} (PyTorch submissions only)" if rule.kind == "torch" else what


def _sources(rule: Rule, tracks: list[Track]) -> str:
    return "; ".join(dict.fromkeys(rule.source_for(track) for track in tracks))


def _names(tracks: list[Track]) -> list[str]:
    return list(dict.fromkeys(track.name for track in tracks))
