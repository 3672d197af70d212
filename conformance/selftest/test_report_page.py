"""The report's page in a browser: both themes, the keyboard, folding, print, narrow screens."""

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.report.palette import THEME
from conformance.report.writers import write_report
from conformance.selftest.reports import made_up

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no Chromium: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="install the dev extra")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    folder = tmp_path_factory.mktemp("page")
    write_report(made_up(), folder)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.page = (folder / "report.html").as_uri()
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def page(browser: Any) -> None:
    media(browser, "light")
    browser.get(browser.page)


def media(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def ground(browser: Any) -> str:
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    numbers = [int(n) for n in colour.removeprefix("rgb(").rstrip(")").split(",")]
    return "#" + "".join(f"{n:02x}" for n in numbers)


def shown(browser: Any) -> list[str]:
    script = "return [...document.querySelectorAll('[id^=rule-]')]"
    return browser.execute_script(f"{script}.filter(r => r.checkVisibility()).map(r => r.id)")


def test_nothing_goes_wrong_and_nothing_is_loaded(browser: Any) -> None:
    assert browser.title == "Failing: LPCVC conformance"
    assert browser.get_log("browser") == []
    loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [name for name in browser.execute_script(loaded) if not name.startswith("data:")] == []
    whole = "return [...document.images].every(i => i.complete && i.naturalWidth > 100)"
    assert browser.execute_script(whole)


def test_themes(browser: Any) -> None:
    """As the system says, unless the reader chooses; with the keyboard alone."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    light, dark = THEME["page"]
    assert ground(browser) == light
    media(browser, "dark")
    assert ground(browser) == dark
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "To the verdict"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    toggle = browser.switch_to.active_element
    assert toggle.get_attribute("id") == "theme-auto"
    outline = "return getComputedStyle(document.activeElement.parentElement).outlineStyle"
    assert browser.execute_script(outline) == "solid", "the focus can be seen"
    toggle.send_keys(Keys.ARROW_RIGHT)
    assert ground(browser) == light
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    media(browser, "light")
    assert ground(browser) == dark


def test_what_is_kept_is_folded(browser: Any) -> None:
    """What fails is seen first, then advice; a link to a rule that is kept unfolds it."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    assert shown(browser) == ["rule-1-COM-2", "rule-1-IMG-1"]
    (summary,) = browser.find_elements(By.CSS_SELECTOR, ".kept > summary")
    assert summary.text == "1 rule kept, 1 not checked; 1 other check"
    summary.click()
    kept = ["rule-1-PID-4", "rule-2-model-onnx=npu"]
    assert shown(browser) == ["rule-1-COM-2", "rule-1-IMG-1", *kept]
    browser.get("about:blank")
    browser.get(f"{browser.page}#rule-1-PID-4")
    WebDriverWait(browser, 30).until(lambda page: "rule-1-PID-4" in shown(page))


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_needs_scrolling_sideways(browser: Any, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print(browser: Any) -> None:
    """Light whatever the theme; what to do about broken rules, and nothing that needs a mouse."""
    browser.execute_script("document.getElementById('theme-dark').click()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    scheme = "return getComputedStyle(document.documentElement).colorScheme"
    assert browser.execute_script(scheme) == "light"
    script = "return [...document.querySelectorAll('.finding dl')].map(d => d.offsetHeight > 0)"
    assert browser.execute_script(script) == [True, True, True]
    controls = "return [...document.querySelectorAll('fieldset')].some(f => f.offsetHeight)"
    assert not browser.execute_script(controls)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
