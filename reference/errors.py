"""The one exception for what a user can put right."""


class SubmissionError(Exception):
    """Something the user brought cannot be used.

    `problem` says what is wrong and `remedy` what to do; both are one line, and so is `str(error)`.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = one_line(problem)
        self.remedy = one_line(remedy)
        super().__init__(f"{self.problem}; {self.remedy}")


def one_line(text: str, limit: int = 500) -> str:
    """`text` on one line, cut to `limit` characters (foreign error messages can run to pages)."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
