"""`module:name` and `file.py:name`: Python code that makes a model, looked at before it runs."""

import ast
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from conformance.submission.foreign import no_file, unreadable
from reference.closest import did_you_mean
from reference.errors import SubmissionError

_MOST_NAMED = 8


def split_factory(target: str) -> tuple[str, str] | None:
    """(module or file that ends in .py, name of what makes the model), None for other words."""
    source, colon, name = target.rpartition(":")
    known = source.endswith(".py") or all(each.isidentifier() for each in source.split("."))
    return (source, name) if colon and name.isidentifier() and known else None


def check_factory(target: str) -> None:
    """Raises SubmissionError where what `target` names is plainly not there; nothing is run.

    What code may define in other ways than a reader sees is let through.
    """
    source, name = split_factory(target) or ("", "")
    file = Path(source) if source.endswith(".py") else _file_of(source, name)
    if file is None:
        return
    if not file.is_file():
        raise no_file(source)
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise SubmissionError(
            f"{file} is no Python that can be read ({error.args[0]}{where})", f"run python {file}"
        ) from None
    except (RecursionError, MemoryError):
        return
    except OSError as error:
        raise unreadable(source, error) from None
    found = list(dict.fromkeys(_defined(tree.body)))
    if name not in found and not {"*", "__getattr__"} & {*found}:
        own = [each for each in _defined(tree.body, imported=False) if not each.startswith("_")]
        raise SubmissionError(
            f"{file.name} has no attribute {name!r}",
            did_you_mean(name, found) or _listed(own),
        )


def _listed(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    more = ", ..." if len(names) > _MOST_NAMED else ""
    listed = ", ".join(names[:_MOST_NAMED]) + more
    return f"it defines {listed}" if listed else "it defines nothing: save the file first"


def _file_of(module: str, name: str) -> Path | None:
    """The source of a module, None where it is not a file or is found in a way of its own."""
    importlib.invalidate_caches()
    search: Iterable[str] | None = [os.getcwd(), *sys.path]
    parts = module.split(".")
    for part in parts:
        spec = PathFinder.find_spec(part, list(search)) if search is not None else None
        if spec is None and part is parts[0] and _found_otherwise(part):
            return None
        if spec is None:
            raise _no_module(module, name)
        search = spec.submodule_search_locations
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin and origin.endswith(".py") else None


def _found_otherwise(module: str) -> bool:
    """By a hook, such as that of an editable install."""
    finders = (finder for finder in sys.meta_path if finder is not PathFinder)
    return any(finder.find_spec(module, None) is not None for finder in finders)


def _no_module(module: str, name: str) -> SubmissionError:
    near = [path.stem for path in Path().glob("*.py")]
    hint = did_you_mean(module, near)
    return SubmissionError(
        f"no module is called {module!r}",
        hint or f"give the file, FILE.py:{name}, or run this where it can be imported",
    )


def _defined(body: Iterable[ast.stmt], *, imported: bool = True) -> Iterator[str]:
    """The names that statements bind, those inside if, try and with too."""
    for each in body:
        match each:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names) if imported:
                yield from (a.asname or a.name.partition(".")[0] for a in names)
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                for _, inner in ast.iter_fields(each):
                    if isinstance(inner, list):
                        statements = [x for x in inner if isinstance(x, ast.stmt)]
                        handled = [x.body for x in inner if isinstance(x, ast.ExceptHandler)]
                        for block in (statements, *handled):
                            yield from _defined(block, imported=imported)
