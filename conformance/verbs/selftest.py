"""Hold every rule against models that break it."""

import importlib

import click

from conformance.verbs import Answer
from reference.errors import SubmissionError


@click.command()
def command() -> Answer:
    """Hold every rule against models that break it. It is for those who work on the suite."""
    try:
        matrix = importlib.import_module("conformance.selftest.matrix")
    except ImportError as error:
        raise SubmissionError(
            f"selftest cannot be loaded ({error})",
            "run it from a source checkout with the dev extra",
        ) from None
    answer: Answer = matrix.selftest()
    return answer
