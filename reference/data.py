"""Finds the files of `fixtures/`: in the source tree, or inside the installed package."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def fixture(name: str) -> Path:
    """The path of `fixtures/<name>`, for example `fixture("photos/coffee.png")`.

    Raises FileNotFoundError where the file is not part of the package.
    """
    for root in (_HERE / "fixtures", _HERE.parent / "fixtures"):
        path = root / name
        if path.exists():
            return path
    raise FileNotFoundError(f"no fixture {name!r}")
