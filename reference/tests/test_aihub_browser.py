"""The pages of the hub in a browser, at every width and in both themes."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("qai_hub", reason="needs the hub extra")

from reference.tests.hub_site import DLC, ME, S24, Site, axe_core, open_browser, open_site

WIDTHS = (320, 390, 768, 1280)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("models")) as own:
        yield own


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[object]:
    """Signed in."""
    with open_browser() as own:
        own.get(f"{site.hub.url}/login")
        own.find_element("id", "token").send_keys(site.hub.tokens[ME], "\n")
        own.find_element("css selector", "nav")
        yield own


def set_width(browser, width: int) -> None:
    """The width of the page itself; a window cannot be as narrow as a telephone."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def texts(browser, selector: str) -> list[str]:
    return [each.text for each in browser.find_elements("css selector", selector)]


def no_errors(browser) -> None:
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_layers_are_sorted(site: Site, browser) -> None:
    """By their time, as on the page."""
    set_width(browser, 1280)
    browser.get(f"{site.hub.url}/jobs/{site.profiling.job_id}/")
    assert browser.find_element("css selector", ".head h1").text == "profile of it"
    names = "section[aria-labelledby=layers] tbody th"
    assert texts(browser, names) == ["conv", "resize"]
    (time,) = (b for b in browser.find_elements("css selector", "th button") if "time" in b.text)
    time.click()
    assert texts(browser, names) == ["resize", "conv"]
    assert "time" in browser.find_element("css selector", "th[aria-sort=ascending]").text
    no_errors(browser)


def test_a_job_is_shared(site: Site, browser) -> None:
    set_width(browser, 1280)
    browser.get(f"{site.hub.url}/jobs/{site.profiling.job_id}/")
    browser.find_element("css selector", "summary").click()
    browser.find_element("id", "email").send_keys("friend@lpcv.org\n")
    assert browser.find_element("css selector", "p.message").text == "Shared."
    assert list(site.profiling.get_sharing()) == ["friend@lpcv.org"]
    no_errors(browser)


def test_a_job_is_followed(site: Site, browser, tmp_path: Path) -> None:
    """From the list and from its page, to its end, without a reload; the reader stays in place."""
    from selenium.webdriver.support.ui import WebDriverWait

    set_width(browser, 1280)
    browser.get(f"{site.hub.url}/jobs/")
    browser.execute_script("window.same = true")
    path = tmp_path / "slow.onnx"
    path.write_text("compile sleep 3")
    job = site.hub.client.submit_compile_job(str(path), S24, "slow one", options=DLC)

    def soon(selector: str, text: str) -> None:
        wait = WebDriverWait(browser, 30, ignored_exceptions=(Exception,))
        wait.until(lambda _: any(text in each for each in texts(browser, selector)))

    soon("tbody th", "slow one")
    browser.find_element("css selector", f'a[href="/jobs/{job.job_id}/"]').click()
    browser.execute_script("window.same = true")
    soon("p", "this page will show what comes of it")
    browser.find_element("css selector", "summary").click()
    browser.find_element("id", "email").send_keys("half an addr")
    soon(".state", "Results ready")
    soon(".button", "COMPILED MODEL")
    assert browser.execute_script("return window.same"), "it was not loaded again"
    assert browser.find_element("id", "email").get_attribute("value") == "half an addr"
    assert browser.title.endswith("Results ready · Local AI Hub")
    assert browser.execute_script("return document.querySelector('main').dataset.follow ?? 0") == 0
    no_errors(browser)


def open_page(browser, url: str) -> None:
    """With all that it hides shown."""
    browser.get(url)
    browser.execute_script("document.querySelectorAll('details').forEach((d) => d.open = true)")


def test_pages_fit(site: Site, browser) -> None:
    """Nothing but tables is wider than the window, and no word is broken that would fit."""
    site.profiling.modify_sharing(add_emails=["someone.with.a.long.name@university.example.org"])
    for path in site.paths:
        open_page(browser, site.hub.url + path)
        for width in WIDTHS:
            set_width(browser, width)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, (path, width)
            assert browser.execute_script(_BROKEN) == [], (path, width)


# Words of up to twenty letters whose letters stand in two lines.
_BROKEN = """
const broken = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode;
  if (node.parentElement.closest("script, .unseen, option, code, pre, h1")) continue;
  for (const word of node.data.matchAll(/[\\p{L}\\p{N}]{2,20}/gu)) {
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    if (lines.size > 1) broken.push(word[0]);
  }
}
return broken;
"""


# Those that are off unless asked for, such as `label-content-name-mismatch`, with them.
_EVERY_RULE = """
const done = arguments[0];
const rules = Object.fromEntries(axe.getRules().map((rule) => [rule.ruleId, { enabled: true }]));
axe.run(document, { rules }).then((found) => done(found.violations));
"""


def test_axe_finds_nothing(site: Site, browser) -> None:
    program = axe_core()
    browser.set_script_timeout(60)
    for path in site.paths:
        open_page(browser, site.hub.url + path)
        browser.execute_script(program)
        for width, theme in product(WIDTHS, ("light", "dark")):
            set_width(browser, width)
            features = [{"name": "prefers-color-scheme", "value": theme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            found = browser.execute_async_script(_EVERY_RULE)
            shown = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
            assert shown == [], f"{path}, {width}, {theme}: {json.dumps(shown, indent=1)}"
