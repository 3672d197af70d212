"""Checks a bundle again: `python evaluate.py [DATA]`.

Looks whether the files beside it are those that were bundled, holds the model to every rule of its
track and, with the folder of a data set, scores it and compares that with the score in the bundle.
Exit code 1: something is not as it was. Needs the suite that `README.md` names, and nothing else.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Everything, one after the other; 0 where all is as it was."""
    bundle = json.loads((HERE / "bundle.json").read_text(encoding="utf-8"))
    for name, digest in bundle["files"].items():
        path = HERE / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            print(f"{name} is not the file that was bundled")
            return 1
    print(f"{len(bundle['files'])} files, each as it was bundled", flush=True)
    submission = [f"--submission={spec}" for spec in bundle["submission"]]
    held = ["--track", bundle["track"], *submission]
    suite = ["pytest", "--pyargs", "conformance", "-m", "contract", "-p", "no:cacheprovider"]
    code = subprocess.run([sys.executable, "-m", *suite, *held], cwd=HERE, check=False).returncode
    return max(code, _score(Path(arguments[0]).resolve(), held)) if arguments else code


def _score(data: Path, held: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch, "scores.json")
        score = ["conformance.cli", "score", *held, "--data", str(data), "--keep", str(kept)]
        command = [sys.executable, "-m", *score, "--results", f"{scratch}/results.sqlite"]
        code = subprocess.run(command, cwd=HERE, check=False).returncode
        new = _first(kept)
    old = _first(HERE / "scores.json")
    if not new or not old:
        return code
    if new["digest"] != old["digest"]:
        print(f"the bundle was scored on other data, {old['data']}: {_words(old)}")
        return code
    same = new["value"] == old["value"]
    print("the same score as in the bundle" if same else f"in the bundle it is {_words(old)}")
    return code if same else 1


def _first(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    score: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["scores"][0]
    return score


def _words(score: dict[str, Any]) -> str:
    return f"{score['metric']} {score['value']}, with {score['computed_by']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
