"""A hub with jobs of every kind, for what a person sees of it, and a browser to see it with."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import qai_hub
import requests

from reference.aihub.local import LocalHub, local_hub

ME, OTHER = "me@team.org", "other@team.org"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
LISTS = ("/jobs/", "/models/", "/datasets/", "/devices/", "/account/")


class Site:
    """The hub with one job of every kind, and a person signed in."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        self.hub = hub
        self._sessions: dict[str, requests.Session] = {}
        client = hub.client
        path = folder / "model.onnx"
        path.write_text("a model <b>")
        broken = folder / "broken.onnx"
        broken.write_text("compile fail no such operator <script>alert(1)</script>")
        self.compiling = client.submit_compile_job(str(path), S24, "my <model>", options=DLC)
        target = self.compiling.get_target_model()
        data = client.upload_dataset({"image": [np.zeros((1, 3), np.float32)]}, name="pictures")
        self.profiling = client.submit_inference_job(target, S24, name="profile of it")
        self.inferring = client.submit_inference_job(target, S24, data, "a run", profile=False)
        unknown = folder / "unknown.onnx"
        unknown.write_text("inference estimate none")
        self.unknown = client.submit_profile_job(
            client.submit_compile_job(str(unknown), S24, options=DLC).get_target_model(), S24
        )
        self.failing = client.submit_compile_job(str(broken), S24, "broken", options=DLC)
        slow = folder / "slow.onnx"
        slow.write_text("compile sleep 600")
        self.running = client.submit_compile_job(str(slow), S24, "slow", options=DLC)
        self.data, self.target = data, target
        for job in (self.compiling, self.profiling, self.unknown, self.inferring, self.failing):
            job.wait()

    def session(self, email: str = ME) -> requests.Session:
        """A person who has signed in."""
        if email not in self._sessions:
            self._sessions[email] = sign_in(self.hub, email)
        return self._sessions[email]

    def get(self, path: str, email: str = ME) -> requests.Response:
        return self.session(email).get(self.hub.url + path, timeout=30)

    def page(self, job: object) -> str:
        return self.get(f"/jobs/{job.job_id}/").text  # type: ignore[attr-defined]

    @property
    def paths(self) -> list[str]:
        """Every page that there is, those of what is not there with them."""
        jobs = (self.compiling, self.profiling, self.unknown, self.inferring, self.failing)
        return [
            "/login",
            *LISTS,
            *(f"/jobs/{job.job_id}/" for job in (*jobs, self.running)),
            f"/models/{self.target.model_id}/",
            f"/datasets/{self.data.dataset_id}/",
            "/jobs/?kind=link",
            "/jobs/?q=nothing+like+it&sort=name",
            "/jobs/j00000000/",
            "/nowhere/at/all",
        ]


def sign_in(hub: LocalHub, email: str) -> requests.Session:
    """The session of somebody who gave the token on the page for it."""
    session = requests.Session()
    session.post(f"{hub.url}/login", {"token": hub.tokens[email]}, timeout=30)
    return session


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """The site, as long as it is needed."""
    with local_hub(users=(ME, OTHER), runner="reference.tests.hub_runner:run", workers=4) as hub:
        yield Site(hub, folder)


@contextmanager
def open_browser():
    """Chromium without a window; skips where it is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    own = webdriver.Chrome(options, webdriver.ChromeService(driver))
    own.set_page_load_timeout(60)
    own.implicitly_wait(30)
    yield own
    own.quit()


def axe_core() -> str:
    """The program of axe-core; skips where it is missing."""
    path = Path(os.environ.get("AXE_CORE", ""))
    if not path.is_file():
        pytest.skip("needs axe-core: npm pack axe-core, and AXE_CORE=package/axe.min.js")
    return path.read_text(encoding="utf-8")
