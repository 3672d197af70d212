"""The suite as a command: what pytest is told, by `lpcvc gate` and in CI. The standard library is
enough for this.
"""

from collections.abc import Sequence

Value = str | bool | Sequence[str] | None


def suite_arguments(suites: Sequence[str], **options: Value) -> list[str]:
    """The arguments of pytest that run `suites` with `options`, as the plugin has them.

    A switch is True, an option that can be repeated has several texts, and one that is empty is
    left out. Each value is one argument with its option, whatever is in it.
    """
    arguments = ["--pyargs", "conformance", "-m", " or ".join(dict.fromkeys(suites))]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            arguments += [option] if value else []
        else:
            values = [value] if isinstance(value, str) else value or ()
            arguments += [f"{option}={each}" for each in values if each]
    return arguments
