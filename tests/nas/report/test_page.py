import base64
import dataclasses
import hashlib
import html.parser
import json
import re
import time

import plotly.graph_objects as go
import pytest

from nas.report.page import render
from nas.report.panels import PANELS
from tests.nas.report import runs


class Loads(html.parser.HTMLParser):
    """Collects what a page would load, and its scripts."""

    def __init__(self):
        super().__init__()
        self.found, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        names = dict(attributes)
        self.scripts += tag == "script"
        if "src" in names or tag in ("link", "iframe", "object", "embed", "base"):
            self.found.append((tag, names))
        if not names.get("href", "#").startswith("#"):
            self.found.append((tag, names))


def loads(page):
    parser = Loads()
    parser.feed(page)
    return parser


@pytest.fixture(scope="module")
def page():
    return render(runs.search(60))


def test_page_loads_nothing(page):
    assert loads(page).found == []
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style


def test_page_holds_plotly_once_and_every_panel(page):
    assert page.count("plotly.js v") == 1
    for panel in PANELS:
        assert f"<h2>{panel.TITLE.replace('&', '&amp;')}</h2>" in page


def test_page_lets_a_browser_send_nothing(page):
    policy = re.search(
        r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page
    ).group(1)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name in ("default-src", "connect-src", "form-action", "base-uri"):
        assert rules[name] == "'none'"
    assert "unsafe" not in rules["script-src"] + rules["style-src-elem"]
    assert "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts
    ]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]


def test_page_has_no_button_that_shares(page):
    assert "showSendToCloud: false" in page
    assert 'plotlyServerURL: ""' in page


def test_page_says_the_unit_of_a_hypervolume():
    state = dataclasses.replace(
        runs.search(30), objectives=("psnr_gain_db", "params", "flops", "runtime_ratio")
    )
    unit = "dB × " + " × ".join(
        f"share of the baseline&#x27;s {name}" for name in ("parameters", "FLOPs", "runtime")
    )
    text = render(state)
    assert f"Hypervolume, in {unit}:" in text
    assert re.search(rf"hypervolume \d\.\d+ \({re.escape(unit)}\)", text)


def test_page_begins_with_what_happened(page):
    lead = re.search(r'<p class="lead">(.*?)</p>', page).group(1)
    assert re.match(r"60 architectures tried, of which 4 failed; \d+ are on the Pareto front", lead)


def test_page_escapes_what_others_wrote():
    bad = "</script><script>alert(1)</script>"
    spec = runs.rung_spec("16x3", 4)
    named = runs.dataclasses.replace(spec, blocks=(runs.BlockSpec.of(bad), *spec.blocks[1:]))
    records = [
        runs.complete(0),
        runs.complete(1, gain=0.2, spec=named),
        runs.TrialRecord(number=2, state="failed", spec=spec, error=bad),
    ]
    state = runs.run_state(
        records, name=f"run {bad}", settings={bad: bad, "longer_proxy": bad}, notices=(bad,)
    )
    clean = runs.run_state(
        [runs.complete(0), runs.complete(1, gain=0.2, spec=spec)], notices=("fine",)
    )
    assert loads(render(state)).scripts == loads(render(clean)).scripts
    assert "<script>alert" not in render(state)


def test_text_in_a_figure_cannot_end_its_script_element(monkeypatch):
    class Panel:
        TITLE = "one"

        def note(self, state):
            return ""

        table = note

        def draw(self, table, state):
            return (
                go.Figure(
                    layout={"title": {"text": "</script><script>alert(1)</script>"}, "height": 100}
                ),
            )

    monkeypatch.setattr("nas.report.page.PANELS", [Panel()])
    text = render(runs.run_state())
    assert "<script>alert" not in text
    source = re.search(r'data-figure="one-1">(.*?)</script>', text).group(1)
    assert json.loads(source)["layout"]["title"]["text"] == "</script><script>alert(1)</script>"


def test_page_of_an_empty_run_says_so():
    page = render(runs.run_state(ladder=()))
    assert "No trial has finished yet" in page
    assert "The ladder is not complete (0 of 4 sizes trained)" in page


def test_page_says_when_the_proxy_cannot_rank():
    page = render(runs.search(30, means=runs.POOR))
    for part in ("cannot rank", "not believed", "feasibility is unknown", "proxy=bsds_long"):
        assert part in page


def test_page_is_cheap_to_rewrite():
    state = runs.search(100)
    render(state)
    start = time.process_time()
    render(state)
    assert time.process_time() - start < 1.0  # 0.2 s; room for a busy machine
