"""The exceptions that end in one line for the user, and the one warning."""


class SubmissionError(Exception):
    """Something the user brought cannot be used.

    `problem` says what is wrong and `remedy` what to do; both are one line, and so is `str(error)`.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}; {self.remedy}")


class ToolError(SubmissionError):
    """A tool failed of itself while it looked at what the user brought, which is not judged by it.

    `remedy` is the same for all.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            "that is the tool's fault and no verdict on the model: see if `lpcvc doctor` finds the"
            " tools in order, try again, and report it with the model if it stays",
        )


class CheckpointWarning(UserWarning):
    """A checkpoint was loaded, but not all of it."""


def one_line(text: str, limit: int = 500) -> str:
    """`text` on one line of printable characters, cut to `limit`: foreign messages run to pages."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def printable(text: str) -> str:
    """`text` with all but its line ends and what can be printed escaped.

    A stranger's file may hold names that would otherwise steer the terminal, or that no file in
    UTF-8 can hold.
    """
    return "".join(ch if ch.isprintable() or ch == "\n" else ascii(ch)[1:-1] for ch in text)
