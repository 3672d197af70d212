"""MkDocs: what a page says of a file of the repository is its path here, not a link out of it."""

import re
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page with `[the samples](../fixtures/samples)` as `the samples (fixtures/samples)`."""
    up = page.file.src_uri.count("/") + 1
    outside = re.compile(rf"\[([^\]]+)\]\((?:\.\./){{{up}}}([^)#.][^)#]*)(?:#[^)]*)?\)")
    return outside.sub(_path, markdown)


def _path(link: re.Match[str]) -> str:
    words, path = link[1], link[2]
    return f"`{path}`" if words.strip("`") in path else f"{words} (`{path}`)"
