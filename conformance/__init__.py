"""Holds a submission against the rules of its track: the pytest suite and its plugin.

From Python, `conformance.gate(model, track="depth")` does what `lpcvc gate` does.
"""

TYPE_CHECKING = False  # importing typing would take longer than all of this
if TYPE_CHECKING:
    from conformance.api import GateError, Result, gate
    from reference.errors import SubmissionError

__all__ = ["GateError", "Result", "SubmissionError", "gate"]


def __getattr__(name: str) -> object:
    """The names above, imported when they are asked for: a plugin is in every run of pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import conformance.api

    return getattr(conformance.api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
