"""Print the rulebook."""

import click

from conformance.report.rules import rules_explained, rules_markdown, rules_table
from conformance.verbs import Answer
from reference.registry import find_track


@click.command()
@click.option("--track", metavar="TRACK", help="Only the rules of one track.")
@click.option("--explain", metavar="ID", help="Everything about one rule, such as SEG-7.")
@click.option("--markdown", is_flag=True, help="The text of docs/rules.md.")
def command(track: str | None, explain: str | None, markdown: bool) -> Answer:
    """Print the rulebook."""
    only = find_track(track) if track else None
    if explain:
        return rules_explained(explain, only), 0
    return rules_markdown() if markdown else rules_table(only), 0
