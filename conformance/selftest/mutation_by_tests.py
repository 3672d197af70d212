"""Mutation of modules that are no rules: each change is judged by the module's own tests.

They run in a process of their own on a copy of the packages, so that children see the change too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reference.process import end_tree

ROOT = Path(__file__).parents[2]
SELFTEST, REFERENCE = "conformance/selftest", "reference/tests"
OWN_TESTS: dict[str, tuple[str, ...]] = {
    "reference.archive": (f"{REFERENCE}/test_archive.py",),
    "reference.child": (f"{REFERENCE}/test_process.py",),
    "reference.process": (f"{REFERENCE}/test_process.py",),
    "conformance.submission.fold": (f"{SELFTEST}/test_sizes.py",),
    "conformance.submission.graph": (
        f"{SELFTEST}/test_graph.py",
        f"{SELFTEST}/test_hostile_files.py",
    ),
    "conformance.submission.onnx_file": (
        f"{SELFTEST}/test_graph.py",
        f"{SELFTEST}/test_sizes.py",
        f"{SELFTEST}/test_external.py",
        f"{SELFTEST}/test_hostile_files.py",
    ),
    "conformance.contract.probes": (f"{SELFTEST}/test_probes.py",),
    "conformance.rules.external": (f"{SELFTEST}/test_external.py",),
    "conformance.rules.sizes": (f"{SELFTEST}/test_sizes.py",),
    **dict.fromkeys(
        ("conformance.submission.opening", "conformance.submission.files"),
        (f"{SELFTEST}/test_opening.py", f"{SELFTEST}/test_formats.py"),
    ),
}
HANG_SECONDS = 900


class Copy:
    """The packages as they are, in a folder of their own. A context manager."""

    def __enter__(self) -> "Copy":
        self._folder = tempfile.TemporaryDirectory(prefix="lpcvc-mutation-")
        self._root = Path(self._folder.name)
        for name in ("conformance", "reference"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self._root / name, ignore=ignored)
        for name in ("fixtures", "conftest.py", "pyproject.toml", "docs", "README.md"):
            (self._root / name).symlink_to(ROOT / name)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def survives(self, module: str, source: str) -> bool:
        """Whether the module's tests pass with this source in its place."""
        path = self._root / f"{module.replace('.', '/')}.py"
        real = path.read_text(encoding="utf-8")
        try:
            _replace(path, source)
            return self._passes(OWN_TESTS[module])
        finally:
            _replace(path, real)

    def _passes(self, tests: Sequence[str]) -> bool:
        plugins = [f"-pno:{name}" for name in ("cacheprovider", "benchmark", "xdist")]
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", *plugins, *tests],
            cwd=self._root,
            env={**os.environ, "PYTHONPATH": str(self._root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=HANG_SECONDS) == 0
        except subprocess.TimeoutExpired:
            end_tree(process)
            return False


def _replace(path: Path, source: str) -> None:
    """Writes a module and drops what was compiled of it, which may be of the same second."""
    path.write_text(source, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def judge_by_tests(
    modules: Sequence[str], most: int | None, changes: Callable[[Path], Iterable[tuple[str, str]]]
) -> tuple[int, int]:
    """(changes that were noticed, changes), the survivors printed.

    Of the `changes` of a module at most `most` are tried, evenly spaced, None for all of them.
    """
    total = killed = 0
    with Copy() as copy:
        for module in modules:
            path = ROOT / f"{module.replace('.', '/')}.py"
            if not copy.survives(module, path.read_text(encoding="utf-8")):
                raise SystemExit(f"{module}: its tests fail as it is")
            every = list(changes(path))
            step = max(1, -(-len(every) // most)) if most else 1
            chosen = every[::step]
            survivors = 0
            for label, source in chosen:
                if copy.survives(module, source):
                    survivors += 1
                    print(f"survived  {label}", flush=True)
            whole = "" if step == 1 else f", of {len(every)} changes"
            print(f"{module}: {len(chosen) - survivors} of {len(chosen)} killed{whole}", flush=True)
            total, killed = total + len(chosen), killed + len(chosen) - survivors
    return killed, total
