"""The page in a real headless Chromium, from a file, at desktop and phone width."""

import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from nas.report.page import render
from tests.nas.report import runs

pytestmark = pytest.mark.browser
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (  # noqa: SIM905
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
WIDTHS = (1400, 390)
STATES = {
    "can_rank": runs.search(60, report_psnr_db={runs.SPAN.arch_id: 27.1}),
    "cannot_rank": runs.search(60, means=runs.POOR, limit=150_000),
    "empty": runs.run_state(ladder=()),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not DRIVER or not BROWSER:
        pytest.skip(
            "no chromedriver or no chromium on this machine: apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in STATES}
    for name, state in STATES.items():
        paths[name].write_text(render(state), encoding="utf-8")
    return paths


def opened(browser, path, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    figures = len(browser.find_elements(By.CSS_SELECTOR, ".figure"))
    end = time.monotonic() + 30
    while len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .xaxislayer-above")) < figures:
        assert time.monotonic() < end, "the figures were not drawn in 30 s"
        time.sleep(0.1)
    return browser


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", STATES)
def test_page_fits_and_loads_nothing_and_logs_nothing(browser, pages, name, width):
    opened(browser, pages[name], width)
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    overflowing = browser.execute_script(
        "return [...document.querySelectorAll('section, .figure, .js-plotly-plot .main-svg, .scroll, p')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className)"
    )
    assert overflowing == []


@pytest.mark.parametrize("width", WIDTHS)
def test_page_draws_a_point_for_every_complete_trial(browser, pages, width):
    opened(browser, pages["can_rank"], width)
    points = browser.find_elements(By.CSS_SELECTOR, "#pareto-front-1 .scatterlayer .points path.point")
    complete = [record for record in STATES["can_rank"].records if record.state == "complete"]
    assert len(points) == len(complete)
    assert browser.find_elements(By.CSS_SELECTOR, "#pareto-front-1 .scatterlayer path.js-line")


def test_page_tells_of_a_point_when_the_mouse_is_on_it(browser, pages):
    opened(browser, pages["can_rank"], 1400)
    browser.execute_script(
        "var plot = document.getElementById('pareto-front-1');"
        "var at = plot.data.findIndex(trace => trace.name === 'baseline');"
        "Plotly.Fx.hover(plot, [{curveNumber: at, pointNumber: 0}]);"
    )
    text = browser.find_element(By.CSS_SELECTOR, "#pareto-front-1 .hoverlayer").text
    assert "baseline" in text
    assert runs.SPAN.arch_id in text
    assert "ratio 1.000" in text


def test_page_sorts_a_table_by_a_click(browser, pages):
    opened(browser, pages["can_rank"], 1400)
    table = browser.find_element(By.CSS_SELECTOR, "#the-front--by-score table")
    head = next(head for head in table.find_elements(By.TAG_NAME, "th") if head.text == "parameters")

    def column():
        cells = table.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({place})")
        return [int(cell.get_attribute("data-sort")) for cell in cells]

    place = 1 + table.find_elements(By.TAG_NAME, "th").index(head)
    before = column()
    for order in (sorted(before), sorted(before, reverse=True)):
        browser.execute_script("arguments[0].firstChild.click()", head)
        assert column() == order
