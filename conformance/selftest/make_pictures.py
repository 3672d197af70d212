"""`python -m conformance.selftest.make_pictures`: the pictures of the documentation, docs/pictures.

They are sections of real reports: the small conforming models of the tests, and such that break a
rule, held to the contract or ranked, and photographed in headless Chromium.
"""

import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import onnx
from PIL import Image

from conformance.selftest.gate import run_gate
from conformance.selftest.models import DEFAULT_TRACKS, conforming, write
from conformance.selftest.mutants import MUTANTS
from reference.data import fixture
from reference.registry import default_tracks
from reference.tracks import Track

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
WIDTH, WIDER, HEIGHT, COLOURS = 860, 1240, 1400, 256
BROKEN = "depth up to 1.001"
# What is ranked, by the name that it has there.
RANKED = {"blue": "", "grey": "upside down", "red": BROKEN}


def main() -> None:
    """Writes them all anew."""
    FOLDER.mkdir(exist_ok=True)
    browser = _browser()
    try:
        for track in DEFAULT_TRACKS:
            page = _report(track, write(track, _folder()))
            _photograph(browser, page, "#section-1", FOLDER / f"{track.name}.png", 420)
        _photograph(browser, _report_of_broken(), "body", FOLDER / "report.png", 1016)
        browser.set_window_size(WIDER, HEIGHT)
        _photograph(browser, _leaderboard(), "main", FOLDER / "leaderboard.png", 600)
    finally:
        browser.quit()


def _report_of_broken() -> Path:
    path = _folder() / "my.onnx"
    onnx.save(_broken(BROKEN), path)
    return _report(default_tracks()["depth"], {"model": path})


def _leaderboard() -> Path:
    folder = _folder()
    for name, mutant in RANKED.items():
        onnx.save(_broken(mutant) if mutant else conforming("depth"), folder / f"{name}.onnx")
    page = _folder() / "leaderboard.html"
    main = [sys.executable, "-m", "conformance.cli", "rank", fixture("samples/depth"), str(folder)]
    found = subprocess.run([*main, "--track=depth", f"--html={page}"], check=False)
    assert found.returncode == 1, "one of them has no place"
    return page


def _broken(name: str) -> onnx.ModelProto:
    found = next(mutant for mutant in MUTANTS if mutant.name == name)
    model = conforming(found.track)
    found.change(model)
    return model


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="lpcvc-pictures-"))


def _report(track: Track, models: dict[str, Path]) -> Path:
    folder = next(iter(models.values())).parent
    parts = [f"--submission={part}={path.name}" for part, path in models.items()]
    run_gate(folder, f"--track={track.name}", *parts, "--report=report")
    return folder / "report" / "report.html"


def _photograph(browser: Any, page: Path, what: str, picture: Path, height: int) -> None:
    """The top of an element, at most `height` pixels of it."""
    browser.get(page.as_uri())
    data = browser.find_element("css selector", what).screenshot_as_png
    image = Image.open(BytesIO(data)).convert("RGB")
    image = image.crop((0, 0, image.width, min(height, image.height)))
    # An octree keeps the few pixels of a colour of their own.
    image.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(picture, optimize=True)


def _browser() -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


if __name__ == "__main__":
    main()
