"""The page in a real headless Chromium, from a file, at desktop and phone width."""

import json
import re
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from nas.report.page import render
from tests.nas.report import runs

pytestmark = pytest.mark.browser
DRIVER = shutil.which("chromedriver")
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (  # noqa: SIM905
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
WIDTHS = (1400, 390)
STATES = {
    "can_rank": runs.search(60, test_psnr_db={runs.SPAN.arch_id: 27.1}),
    "cannot_rank": runs.search(60, means=runs.POOR, limit=150_000),
    "empty": runs.run_state(ladder=()),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not DRIVER or not BROWSER:
        pytest.skip(
            "no chromedriver or no chromium on this machine: "
            "apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    downloads = tmp_path_factory.mktemp("downloads")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.downloads = downloads
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in STATES}
    for name, state in STATES.items():
        paths[name].write_text(render(state), encoding="utf-8")
    return paths


def requested(browser):
    """The URLs that the browser has asked for since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return found


def opened(browser, path, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())
    figures = len(browser.find_elements(By.CSS_SELECTOR, ".figure"))
    end = time.monotonic() + 30
    while (
        len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot .xaxislayer-above")) < figures
    ):
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
        "return [...document.querySelectorAll("
        "'section, .figure, .js-plotly-plot .main-svg, .scroll, p')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className)"
    )
    assert overflowing == []


def test_page_asks_for_nothing_but_itself(browser, pages):
    requested(browser)  # those of the browser's first page
    opened(browser, pages["can_rank"], 1400)
    assert requested(browser) == [pages["can_rank"].as_uri()]


def test_page_offers_no_way_to_send_a_figure(browser, pages):
    opened(browser, pages["can_rank"], 1400)
    buttons = browser.find_elements(By.CSS_SELECTOR, ".modebar-btn")
    titles = {button.get_attribute("data-title") for button in buttons}
    assert "Download plot as a PNG" in titles
    assert [
        title for title in titles if re.search("share|send|cloud|edit|plotly", title, re.I)
    ] == []
    assert {
        link.get_attribute("href").partition("#")[0]
        for link in browser.find_elements(By.TAG_NAME, "a")
        if link.get_attribute("href")
    } <= {pages["can_rank"].as_uri()}


def test_page_makes_a_png_of_a_figure(browser, pages):
    """The browser draws it from an image of the figure, which the policy has to let through."""
    opened(browser, pages["can_rank"], 1400)
    browser.get_log("browser")
    button = browser.find_element(
        By.CSS_SELECTOR, '#pareto-front-1 [data-title="Download plot as a PNG"]'
    )
    browser.execute_script("arguments[0].click()", button)
    path = wait_for(lambda: next(browser.downloads.glob("*.png"), None))
    image = np.asarray(Image.open(path).convert("RGBA"))
    assert image.shape[0] == 540
    assert len(np.unique(image.reshape(-1, 4), axis=0)) > 100  # points of many colours, text
    assert browser.get_log("browser") == []


PLANTED = {
    "fetch": "fetch(TOLD, {method: 'POST', mode: 'no-cors', body: 'x'}).catch(() => 0)",
    "image": "new Image().src = TOLD",
    "beacon": "navigator.sendBeacon(TOLD, 'x')",
    "request": "let r = new XMLHttpRequest(); r.open('GET', TOLD); r.send()",
    "socket": "try { new WebSocket(TOLD.replace('http', 'ws')) } catch {}",
    "script": "let s = document.createElement('script'); s.src = TOLD; document.body.append(s)",
    "frame": "let f = document.createElement('iframe'); f.src = TOLD; document.body.append(f)",
    "font": "new FontFace('told', `url(${TOLD})`).load().catch(() => 0)",
    "style": "document.body.style.backgroundImage = `url(${TOLD})`",
    "form": "let f = document.createElement('form'); f.action = TOLD; "
    "document.body.append(f); f.submit()",
}


@pytest.fixture
def listener():
    """A server on this machine, and what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self):
            asked.append(self.rfile.readline())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/told", asked
    server.shutdown()
    server.server_close()


def plant(browser, way, address):
    browser.execute_script(f"const TOLD = '{address}'; {PLANTED[way]}")


@pytest.mark.parametrize("way", PLANTED)
def test_browser_keeps_the_page_from_sending(browser, pages, listener, way):
    """Whatever ran in the page; here the test's driver runs it, which no policy stops."""
    address, asked = listener
    opened(browser, pages["empty"], 1400)
    plant(browser, way, address)
    refused = wait_for(lambda: browser.get_log("browser"))
    assert "violates the following Content Security Policy directive" in refused[0]["message"]
    assert asked == []


@pytest.mark.parametrize("way", PLANTED)
def test_listener_hears_of_a_page_without_the_policy(browser, listener, tmp_path, way):
    address, asked = listener
    page = tmp_path / "free.html"
    page.write_text("<!doctype html><title>free</title><body>text</body>")
    opened(browser, page, 1400)
    plant(browser, way, address)
    wait_for(lambda: asked)


def test_browser_runs_no_script_that_is_planted_in_the_page(browser, pages, tmp_path):
    page = tmp_path / "planted.html"
    text = pages["empty"].read_text(encoding="utf-8")
    page.write_text(
        text.replace(
            "<main>", "<main><img src=x onerror='window.ran = 1'><script>window.ran = 2</script>"
        )
    )
    opened(browser, page, 1400)
    assert browser.execute_script("return window.ran") is None


@pytest.mark.parametrize("width", WIDTHS)
def test_page_draws_a_point_for_every_complete_trial(browser, pages, width):
    opened(browser, pages["can_rank"], width)
    points = browser.find_elements(
        By.CSS_SELECTOR, "#pareto-front-1 .scatterlayer .points path.point"
    )
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
    head = next(
        head for head in table.find_elements(By.TAG_NAME, "th") if head.text == "parameters"
    )

    def column():
        cells = table.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({place})")
        return [int(cell.get_attribute("data-sort")) for cell in cells]

    place = 1 + table.find_elements(By.TAG_NAME, "th").index(head)
    before = column()
    for order in (sorted(before), sorted(before, reverse=True)):
        browser.execute_script("arguments[0].firstChild.click()", head)
        assert column() == order
