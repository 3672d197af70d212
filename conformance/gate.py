"""What the gate is, for all that ask: pytest, `lpcvc check`, `lpcvc submit`, CI and the report."""

from dataclasses import dataclass

from conformance.rulebook import Level
from reference.errors import SubmissionError


@dataclass(frozen=True)
class Gate:
    """Which broken rules fail a submission; the others warn.

    Required and documented ones do, and advice does not. With `as_evaluated` documented rules warn
    too, which the evaluator does not enforce; with `strict` advice fails too. Raises
    SubmissionError for both.
    """

    as_evaluated: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.as_evaluated and self.strict:
            raise SubmissionError(
                "--as-evaluated and --strict ask for opposite things", "give one of them"
            )

    def fails(self, level: Level) -> bool:
        """Whether a broken rule of this level fails."""
        match level:
            case Level.REQUIRED:
                return True
            case Level.DOCUMENTED:
                return not self.as_evaluated
            case Level.ADVICE:
                return self.strict
