"""The pages of the hub: what a person reads, and who may read it."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests

from reference.tests.hub_site import DLC, ME, OTHER, Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("models")) as own:
        yield own


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


def test_a_profile_job_shows_the_estimate(site: Site) -> None:
    """With its interval, large; the host's seconds small, and named so; nothing as measured."""
    page = site.page(site.profiling)
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert shown["Latency estimate"] == "2.1 ms"
    assert shown["80 % interval"] == "1.5 ms to 2.6 ms"
    assert "Latency estimate of a test: 2.1 ms (1.5..2.6); not a measurement" in page
    before, host = page.split("What this host took")
    assert "Nobody&#39;s: a test" in host
    assert "<dd>2 ms</dd>" in host, "the median of 1, 2 and 3 ms"
    assert "<dd>2 ms</dd>" not in before
    rows = page.split("<tbody>")[-1].split("</tr>")[:-1]
    assert [("conv" in row, "NPU</span>, matrix" in row, "CPU" in row) for row in rows] == [
        (True, True, False),
        (False, False, True),
    ]
    assert "Layers by time and unit: a test&#39;s simulation; not measured" in page


def test_a_profile_without_an_estimate(site: Site) -> None:
    page = site.page(site.unknown)
    assert "<dt>Inference time</dt><dd>not measured</dd>" in page
    assert "Not measured: no latency estimate" in page
    assert "Latency estimate</dt>" not in page
    assert "Simulated time" not in page


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
        if tag in ("input", "select") and own.get("type") != "hidden":
            self.inputs.add(str(own.get("id")))
        if tag in ("a", "button", "summary") and own.get("aria-label"):
            self.bad.append(f"{tag} is called otherwise than it says: {own['aria-label']}")
        for name in ("src", "href", "action"):
            if str(own.get(name, "")).startswith(("http", "//")):
                self.bad.append(f"{tag} leads away: {own[name]}")
        if own.get("id"):
            self.ids.append(str(own["id"]))


def test_every_page_can_be_read_by_anyone(site: Site) -> None:
    for path in site.paths:
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


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/x/y/z", "/static/nothing.css", "/login/no"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_an_address_that_there_is_not(site: Site, path: str, signed_in: bool) -> None:
    get = site.session().get if signed_in else requests.get
    answer = get(site.hub.url + path, timeout=30)
    assert answer.status_code == 404
    assert "<h1>There is no such page</h1>" in answer.text
    assert (ME in answer.text) == signed_in
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize("path", ["/api/v1/nowhere/", "/api/v2/jobs/", "/storage/a/b"])
def test_a_program_is_answered_as_one(site: Site, path: str) -> None:
    answer = requests.get(site.hub.url + path, timeout=30)
    assert (answer.status_code, answer.json()) == (404, {"detail": "there is no such address"})


def test_where_a_list_leads_after_signing_in(site: Site) -> None:
    """To the list that was asked for, with what was looked for in it."""
    session, asked = requests.Session(), "/jobs/?q=a+b&sort=name"
    page = session.get(site.hub.url + asked, timeout=30)
    field = re.search(r'name="next" value="([^"]*)"', page.text)
    assert field is not None
    then = {"token": site.hub.tokens[ME], "next": html.unescape(field[1])}
    assert session.post(f"{site.hub.url}/login", then, timeout=30).url == site.hub.url + asked
