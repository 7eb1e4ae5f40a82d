"""The page in a real browser, from the disk: no error, no network, nothing cut off, at the width of a desk and of a hand.

Needs Chromium and its driver (Debian: chromium, chromium-driver); skipped where they are not installed. CI installs them.
"""

import json
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from geed.report import crate, page

ROOT = Path(__file__).parents[2]
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver on this machine")
DESK, HAND = (1400, 900), (400, 800)


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # As root in a container Chromium has neither its sandbox nor a large /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def opened(browser, path, size):
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.resolve().as_uri())
    assert browser.execute_script("return innerWidth") == width
    return browser


def check(browser, path, size):
    """What must hold of any study's page at a size."""
    browser.get_log("performance")
    opened(browser, path, size)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert path.resolve().as_uri() in requests
    assert {urlsplit(url).scheme for url in requests} <= {"file", "data"}
    for folded in (True, False):
        if not folded:
            browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true })")
        wide = browser.execute_script("return document.scrollingElement.scrollWidth")
        assert wide <= size[0], f"{wide} pixels wide in a window of {size[0]}"
    pictures = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert all(pictures)
    links = browser.execute_script("return [...document.links].map(link => link.href)")
    for link in set(links):
        place = urlsplit(link)
        assert place.scheme == "file" and Path(unquote(place.path)).is_file(), link
        if place.fragment:
            assert browser.execute_script("return document.getElementById(arguments[0]) !== null", place.fragment), link
    return pictures


def column(browser, table, index):
    return browser.execute_script(
        "return [...document.querySelector(arguments[0]).tBodies[0].rows].map(row => row.cells[arguments[1]].textContent.trim())",
        table,
        index,
    )


def verdicts_in_sight(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('table.verdicts .verdict')].map(mark => mark.getBoundingClientRect().bottom)"
    )


@pytest.fixture
def small(world, study):
    page.write(study, ROOT / "workflow/report", Path("results/small", page.NAME))
    crate.write(study, ROOT / "CITATION.cff")
    return Path("results/small", page.NAME)


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESK, HAND])
def test_it_opens_without_error_or_overflow(browser, small, size):
    assert len(check(browser, small, size)) == 2


@pytest.mark.slow
def test_a_header_sorts_by_mouse_and_keyboard(browser, small):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, small, DESK)
    headers = browser.find_elements(By.CSS_SELECTOR, "table.verdicts th button")
    assert column(browser, "table.verdicts", 1) == ["reproduced", "contradicted"]
    headers[1].click()
    assert column(browser, "table.verdicts", 1) == ["contradicted", "reproduced"]
    assert headers[1].find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    headers[0].send_keys(Keys.ENTER)
    assert column(browser, "table.verdicts", 0) == ["K1", "K2"]
    headers[0].send_keys(Keys.ENTER)
    assert column(browser, "table.verdicts", 0) == ["K2", "K1"]
    sorted_by = browser.find_elements(By.CSS_SELECTOR, "table.verdicts th[aria-sort]")
    assert [header.get_attribute("aria-sort") for header in sorted_by] == ["descending"]


@pytest.mark.slow
def test_numbers_sort_as_numbers(browser, small):
    opened(browser, small, DESK)
    browser.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true })")
    button = "document.querySelectorAll('#K1 table.parts th button')[2]"
    browser.execute_script(f"{button}.click()")
    assert column(browser, "#K1 table.parts", 2) == ["−1e−16", "0.2512"]
    browser.execute_script(f"{button}.click()")
    assert column(browser, "#K1 table.parts", 2) == ["0.2512", "−1e−16"]


@pytest.mark.demo
@pytest.mark.parametrize("size", [DESK, HAND])
def test_the_demos_page_opens(browser, size):
    path = ROOT / "results/demo" / page.NAME
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make figures` first")
    assert len(check(browser, path, size)) >= 7
    if size == DESK:
        opened(browser, path, size)
        assert max(verdicts_in_sight(browser)) <= size[1], "a verdict lies below the first screen"
