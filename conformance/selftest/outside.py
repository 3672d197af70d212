"""The files that a page of the documentation shows with a title, written where the page's reader
would have them, and a package among them installed.
"""

import os
import re
import tomllib
from pathlib import Path

TITLED = re.compile(r"^```\w+ title=\"(?P<name>[^\"]+)\"\n(?P<text>.*?)^```", re.M | re.S)
EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"


def write_titled(page: Path, folder: Path) -> dict[str, str]:
    """Writes them; what the environment of a process needs to find a package among them."""
    found = {each["name"]: each["text"] for each in TITLED.finditer(page.read_text("utf-8"))}
    for name, text in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return install(folder) if "pyproject.toml" in found else {}


def install(folder: Path) -> dict[str, str]:
    """What `pip install -e` does for the project in `folder`; the environment that knows it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def write_pictures(folder: Path) -> None:
    """The suite's photographs, small, with what is bright in them: data for the page's track."""
    import numpy as np
    from PIL import Image

    from conformance.contract.probes import PHOTOS
    from reference.data import fixture

    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for name, (file, _) in PHOTOS.items():
        with Image.open(fixture(f"photos/{file}")) as photo:
            small = photo.convert("RGB").resize((64, 64))
        small.save(folder / "images" / f"{name}.png")
        bright = np.asarray(small).mean(axis=2) > 110
        Image.fromarray((bright * 255).astype(np.uint8)).save(folder / "masks" / f"{name}.png")
