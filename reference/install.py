"""How to install more of this project, in the way in which it was installed."""

import json
import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROJECT = "lpcvc-conformance"
_ROOT = Path(__file__).resolve().parents[1]


def install_command(extra: str = "") -> str:
    """The command that brings `extra`, such as `npu` or `score,ray`; without one, the project.

    It names the checkout, the wheel or the repository that pip took, as PEP 610 records it, and
    the package alone where that was an index.
    """
    try:
        own = distribution(PROJECT)
    except PackageNotFoundError:  # on PYTHONPATH alone
        checkout = (_ROOT / "pyproject.toml").is_file()
        return _command("pip", _checkout(_ROOT) if checkout else {}, extra)
    origin = json.loads(own.read_text("direct_url.json") or "{}")
    installer = (own.read_text("INSTALLER") or "").strip()
    return _command("uv pip" if installer == "uv" else "pip", origin, extra)


def _checkout(root: Path) -> dict[str, Any]:
    return {"url": root.as_uri(), "dir_info": {"editable": True}}


def _command(program: str, origin: Mapping[str, Any], extra: str) -> str:
    """`origin` is the content of direct_url.json."""
    extras = f"[{extra}]" if extra else ""
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    words = [*program.split(), "install"]
    if not url:
        words.append(f"{PROJECT}{extras}")
    elif vcs:
        revision = vcs.get("requested_revision")
        below = origin.get("subdirectory")
        at = f"@{revision}" if revision else ""
        part = f"#subdirectory={below}" if below else ""
        words.append(f"{PROJECT}{extras} @ {vcs['vcs']}+{url}{at}{part}")
    elif urlsplit(url).scheme != "file":
        words.append(f"{PROJECT}{extras} @ {url}")
    else:
        from urllib.request import url2pathname  # it brings a client of HTTP

        words += _local(Path(url2pathname(urlsplit(url).path)), origin, extras)
    return shlex.join(words)


def _local(path: Path, origin: Mapping[str, Any], extras: str) -> list[str]:
    """A wheel or a folder; in the folder itself as one would type it."""
    here = path == Path.cwd()
    what = f"{'.' if here else path}{extras}"
    if not origin.get("dir_info", {}).get("editable"):
        return [what]
    versions = path / "constraints.txt"
    pinned = ["-c", versions.name if here else str(versions)] if versions.is_file() else []
    return [*pinned, "-e", what]
