"""Which room may import which: the contracts in pyproject.toml, held by import-linter."""

from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


def test_rooms_import_in_one_direction(monkeypatch, capsys) -> None:
    """No room imports one that imports it, the core no command line, rules no runtime."""
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == 0, capsys.readouterr().out
