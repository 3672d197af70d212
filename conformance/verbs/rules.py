"""Print the rulebook."""

import click

from conformance.report.rules import rules_explained, rules_facts, rules_markdown, rules_table
from conformance.verbs import Found, in_json
from reference.registry import find_track


@click.command()
@click.option("--track", metavar="TRACK", help="Only the rules of one track.")
@click.option("--explain", metavar="ID", help="Everything about one rule, such as SEG-7.")
@click.option("--markdown", is_flag=True, help="The text of docs/rules.md.")
@in_json
def command(track: str | None, explain: str | None, markdown: bool) -> Found:
    """Print the rulebook."""
    only = find_track(track) if track else None
    found = rules_facts(only, explain)
    if explain:
        return rules_explained(explain, only), 0, found
    return rules_markdown() if markdown else rules_table(only), 0, found
