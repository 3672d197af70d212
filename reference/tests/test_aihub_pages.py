"""The pages of the hub: what a person reads, who may read it, and the same in a browser."""

import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")
requests = pytest.importorskip("requests", reason="needs the hub extra")

from reference.aihub.local import LocalHub, local_hub  # noqa: E402

ME, OTHER = "me@team.org", "other@team.org"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
PAGES = ("/jobs/", "/models/", "/datasets/", "/devices/", "/account/")


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
        self.failing = client.submit_compile_job(str(broken), S24, "broken", options=DLC)
        self.data, self.target = data, target
        for job in (self.compiling, self.profiling, self.inferring, self.failing):
            job.wait()

    def session(self, email: str = ME) -> "requests.Session":
        if email not in self._sessions:
            self._sessions[email] = requests.Session()
            form = {"token": self.hub.tokens[email]}
            self._sessions[email].post(f"{self.hub.url}/login", form, timeout=30)
        return self._sessions[email]

    def get(self, path: str, email: str = ME) -> "requests.Response":
        return self.session(email).get(self.hub.url + path, timeout=30)

    def page(self, job: object) -> str:
        return self.get(f"/jobs/{job.job_id}/").text  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    runner = "reference.tests.hub_runner:run"
    with local_hub(users=(ME, OTHER), runner=runner, workers=4) as hub:
        yield Site(hub, tmp_path_factory.mktemp("models"))


def csrf(text: str) -> str:
    return text.split('name="csrf" value="')[1].split('"')[0]


def test_signing_in(site: Site) -> None:
    url = site.hub.url
    session = requests.Session()
    asked = session.get(f"{url}/models/", timeout=30)
    assert asked.url == f"{url}/login?next=/models/"
    wrong = session.post(f"{url}/login", {"token": "nonsense"}, timeout=30)
    assert wrong.status_code == 403
    assert "does not know that token" in wrong.text
    token = site.hub.tokens[ME]
    inside = session.post(f"{url}/login", {"token": token, "next": "/models/"}, timeout=30)
    assert inside.url == f"{url}/models/"
    away = requests.post(
        f"{url}/login", {"token": token, "next": "//evil.org"}, timeout=30, allow_redirects=False
    )
    assert away.headers["location"] == "/jobs/"
    assert "HttpOnly" in away.headers["set-cookie"]
    assert "SameSite=strict" in away.headers["set-cookie"]
    session.post(f"{url}/logout", {"csrf": csrf(inside.text)}, timeout=30)
    assert session.get(f"{url}/jobs/", timeout=30).url.startswith(f"{url}/login")


def test_a_compile_job(site: Site) -> None:
    page = site.page(site.compiling)
    assert "my &lt;model&gt;" in page
    assert "Results ready" in page
    assert f'href="/models/{site.target.model_id}/file"' in page
    got = site.get(f"/models/{site.target.model_id}/file")
    assert got.text == "a model <b>"
    assert got.headers["content-disposition"].endswith('.dlc"')
    assert site.get(f"/jobs/{site.compiling.job_id}/file/tool.log").text == f"compile {DLC}\n"


def test_a_profile_job_says_whose_time_it_is(site: Site) -> None:
    page = site.page(site.profiling)
    assert "nobody&#39;s: a test" in page
    assert "2 ms" in page
    rows = page.split("<tbody>")[-1].split("</tr>")[:-1]
    assert [("conv" in row, "NPU" in row, "CPU" in row) for row in rows] == [
        (True, True, False),
        (False, False, True),
    ]


def test_an_inference_job_gives_its_outputs(site: Site) -> None:
    page = site.page(site.inferring)
    link = page.split("OUTPUT DATASET")[0].rsplit('href="', 1)[1].split('"')[0]
    assert site.get(link).content[:4] == b"\x89HDF"
    assert f"/datasets/{site.data.dataset_id}/" in page


def test_a_failed_job_says_why_and_runs_nothing(site: Site) -> None:
    page = site.page(site.failing)
    assert "no such operator &lt;script&gt;" in page
    assert "<script>alert" not in page


def test_others_see_nothing_until_it_is_shared(site: Site) -> None:
    job = f"/jobs/{site.compiling.job_id}/"
    model = f"/models/{site.target.model_id}/"
    for path in (job, model, f"{model}file", f"{job}file/tool.log"):
        assert site.get(path, OTHER).status_code == 404
    assert "my &lt;model&gt;" not in site.get("/jobs/", OTHER).text
    session, url = site.session(), site.hub.url + job
    mark = csrf(session.get(url, timeout=30).text)
    forged = session.post(f"{url}share", {"add": OTHER, "csrf": "guess"}, timeout=30)
    assert forged.status_code == 403
    assert site.get(job, OTHER).status_code == 404
    shared = session.post(f"{url}share", {"add": OTHER, "csrf": mark}, timeout=30)
    assert "Shared." in shared.text
    theirs = site.get(job, OTHER)
    assert "Shared with you." in theirs.text
    assert "SHARE" not in theirs.text
    assert site.get(model, OTHER).status_code == 200
    refused = session.post(f"{url}share", {"add": "no address", "csrf": mark}, timeout=30)
    assert "That is no e-mail address" in refused.text
    session.post(f"{url}share", {"remove": OTHER, "csrf": mark}, timeout=30)
    assert site.get(job, OTHER).status_code == 404


def test_storage_addresses_cannot_be_guessed(site: Site) -> None:
    assert requests.get(f"{site.hub.url}/storage/{'a' * 32}", timeout=30).status_code == 403
    link = site.session().get(
        f"{site.hub.url}/models/{site.target.model_id}/file", timeout=30, allow_redirects=False
    ).headers["location"]  # fmt: skip
    assert len(link.removeprefix("/storage/")) == 40
    assert requests.put(f"{site.hub.url}{link}", b"x", timeout=30).status_code == 403


class Outline(HTMLParser):
    """Collects what a reader without eyes or scripts depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.bad: list[str] = []
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.inputs: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        own = dict(attributes)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag == "th" and own.get("scope") not in ("col", "row"):
            self.bad.append("a th without scope")
        if tag == "label":
            self.labels.add(str(own["for"]))
        if tag == "input" and own.get("type") != "hidden":
            self.inputs.add(str(own.get("id")))
        for name in ("src", "href", "action"):
            if str(own.get(name, "")).startswith(("http", "//")):
                self.bad.append(f"{tag} leads away: {own[name]}")
        if own.get("id"):
            self.ids.append(str(own["id"]))


def test_every_page_can_be_read_by_anyone(site: Site) -> None:
    jobs = (site.compiling, site.profiling, site.inferring, site.failing)
    own = [f"/jobs/{job.job_id}/" for job in jobs]
    own += [f"/models/{site.target.model_id}/", f"/datasets/{site.data.dataset_id}/", "/jobs/x/"]
    for path in (*PAGES, *own):
        outline = Outline()
        text = site.get(path).text
        outline.feed(text)
        assert outline.bad == [], path
        assert outline.headings[0] == 1
        assert outline.headings.count(1) == 1, path
        steps = zip(outline.headings, outline.headings[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), path
        assert len(set(outline.ids)) == len(outline.ids), path
        assert outline.inputs <= outline.labels, path
        assert '<html lang="en">' in text


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    own = webdriver.Chrome(options, webdriver.ChromeService(driver))
    own.set_page_load_timeout(60)
    own.implicitly_wait(30)
    yield own
    own.quit()


def test_in_a_browser(site: Site, browser) -> None:
    """Sign in, sort the layers by time, share, all by what is on the page; no error is logged."""
    url = site.hub.url
    browser.get(f"{url}/jobs/{site.profiling.job_id}/")
    browser.find_element("id", "token").send_keys(site.hub.tokens[ME], "\n")
    assert browser.find_element("css selector", ".head h1").text == "profile of it"
    names = "main section tbody th"
    first = [cell.text for cell in browser.find_elements("css selector", names)]
    assert first[-2:] == ["conv", "resize"]
    (time,) = (b for b in browser.find_elements("css selector", "th button") if "Time" in b.text)
    time.click()
    assert [cell.text for cell in browser.find_elements("css selector", names)][-2:] == [
        "resize",
        "conv",
    ]
    column = browser.find_element("css selector", "th[aria-sort=ascending]")
    assert "Time" in column.text
    browser.find_element("css selector", "summary").click()
    browser.find_element("id", "email").send_keys("friend@lpcv.org\n")
    assert browser.find_element("css selector", "p.message").text == "Shared."
    assert list(site.profiling.get_sharing()) == ["friend@lpcv.org"]
    wide = browser.execute_script("return document.documentElement.scrollWidth > innerWidth")
    assert not wide
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
