"""The page in a browser against a running service: from signing in to a comparison. Needs a system Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import DEMO, ROOT
from tests.test_served import until_ready

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (390, 820, 1400)
SECONDS = 120_000  # as Playwright counts them

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")


class Served(NamedTuple):
    url: str
    key: str


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDITOR_")}
    environment |= {"PYTHONPATH": str(ROOT), "AUDITOR_PORT": str(port)}
    command = [sys.executable, "-m", "auditor", "serve", "--data", folder / "data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        until_ready(url, process, folder / "log")
        yield Served(url, (folder / "data" / "first-key").read_text().strip())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def signed_in(browser, served, **options):
    """A page of somebody who has signed in; in the end nothing may have gone wrong on it."""
    context = browser.new_context(base_url=served.url, viewport={"width": 1280, "height": 900}, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(SECONDS)
    page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("response", lambda answer: answer.status >= 400 and wrong.append(f"{answer.status} {answer.url}"))
    page.on("requestfailed", lambda request: "ABORTED" in request.failure or wrong.append(request.url))
    page.goto("/models")
    page.fill("#key", served.key)
    page.click("main button")
    page.wait_for_url("/models")
    yield page
    context.close()
    assert wrong == []


def upload(page, kind, file, name):
    page.goto(f"/{kind}s")
    page.set_input_files("#file", DEMO / file)
    page.fill(f"#{kind}-name", name)
    page.click("text=Upload >> nth=-1")
    page.wait_for_selector("main .state.good")


def ask(page, **said):
    """Ask for an audit and follow it to its end; its path."""
    page.goto("/audits/new")
    page.select_option("#preset", "quick")
    for name, value in said.items():
        page.fill(f"#{name}", value)
    page.click("main button:text('Start')")
    page.wait_for_selector(".verdict")
    return page.url


@pytest.fixture(scope="module")
def walked(browser, served):
    """Two finished audits of one model, asked for through the page; their paths."""
    with signed_in(browser, served) as page:
        upload(page, "model", "digits.onnx", "digits")
        upload(page, "dataset", "digits.npz", "digits")
        said = {"examples": "24", "eps_Linf": "0.05,0.1", "fail_under": "Linf:0.05=0.1"}
        return [ask(page, **said) for _ in range(2)]


def test_from_signing_in_to_a_comparison(browser, served, walked):
    first, second = walked
    assert first != second
    with signed_in(browser, served) as page:
        page.goto(first)
        assert page.inner_text(".verdict strong") in ("Passed", "Inconclusive", "Do not ship")
        page.locator("figure svg.marks").nth(1).wait_for()
        assert "auditor submit digits@1 digits" in page.inner_text("pre >> nth=-1")
        with page.expect_download() as download:
            page.click("text=report.json")
        assert Path(download.value.path()).read_bytes().startswith(b"{")
        page.click("nav.files >> text=Report >> nth=0")
        page.wait_for_selector("text=Robustness of digits")
        page.goto(f"{first}/examples")
        page.click(".cards a >> nth=0")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True] * 3
        page.goto("/compare")
        page.select_option("#audit-1", first.rpartition("/")[2])
        page.select_option("#audit-2", second.rpartition("/")[2])
        page.click("main button")
        page.wait_for_selector("text=Net loss is the share of the paired examples")
        page.click("text=Sign out")
        page.wait_for_url("/sign-in")


def test_charts_answer_to_the_pointer(browser, served, walked):
    ids = "&".join(f"audit={path.rpartition('/')[2]}" for path in walked)
    with signed_in(browser, served) as page:
        for path, least, word in ((walked[0], 2, "robust accuracy"), (f"/compare?{ids}", 1, "accuracy")):
            page.goto(path)
            page.locator("figure svg.marks").nth(least - 1).wait_for()
            page.wait_for_load_state("networkidle")
            assert page.locator("figure svg.marks").count() == page.locator(".chart").count()
            for box in page.locator("figure svg.marks").all():
                box.hover()
                page.wait_for_selector("#vg-tooltip-element.visible")
                assert "undefined" not in page.inner_text("#vg-tooltip-element")
            page.locator("figure svg.marks").first.hover()
            page.wait_for_selector(f"#vg-tooltip-element.visible:has-text('{word}')")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_progress_shows_without_loading_the_page(browser, served, walked):
    with signed_in(browser, served) as page:
        page.goto("/audits/new")
        for name, value in {"examples": "200", "eps_Linf": "0.03"}.items():
            page.fill(f"#{name}", value)
        page.click("main button:text('Start')")
        page.wait_for_selector("text=cost at most")  # settled
        page.wait_for_selector("progress")
        page.evaluate("window.untouched = true")
        page.wait_for_function("document.querySelector('progress').value > 0")
        assert page.evaluate("window.untouched")
        page.click("text=Cancel the audit")
        page.wait_for_selector(".state:text('cancelled')")


def test_everything_works_without_scripts(browser, served, walked):
    with signed_in(browser, served, java_script_enabled=False) as page:
        for path in ("/", "/audits", *walked, f"{walked[0]}/examples"):
            page.goto(path)
            assert page.locator("h1").count() == 1
        page.goto(walked[0])
        page.wait_for_load_state("networkidle")
        drawn = page.evaluate("[...document.querySelectorAll('figure img')].map(image => image.naturalWidth > 0)")
        assert drawn == [True] * 2
        upload(page, "model", "digits.onnx", "without-scripts")
        page.click("summary")
        page.click("text=Delete for good")
        page.wait_for_url("/models")


def test_no_page_is_wider_than_the_window(browser, served, walked, tmp_path):
    pages = (
        "/",
        "/models",
        "/models/digits",
        "/datasets",
        "/audits",
        "/audits/new",
        "/compare",
        "/keys",
        "/webhooks",
    )
    kept = Path(os.environ.get("AUDITOR_TEST_SCREENSHOTS", tmp_path))
    with signed_in(browser, served) as page:
        compared = f"/compare?audit={walked[0].rpartition('/')[2]}&audit={walked[1].rpartition('/')[2]}"
        for path in (*pages, walked[0], f"{walked[0]}/examples", compared):
            page.goto(path)
            name = path.removeprefix(served.url).strip("/").replace("/", "-") or "overview"
            page.wait_for_load_state("networkidle")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.screenshot(path=kept / f"{name}-{width}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_nothing_keeps_anyone_out(browser, served, walked):
    found, axe = [], resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    pages = ("/", "/models", "/models/digits", "/datasets", "/datasets/digits", "/audits", "/audits/new", "/compare")
    with signed_in(browser, served) as page:
        compared = f"/compare?audit={walked[0].rpartition('/')[2]}&audit={walked[1].rpartition('/')[2]}"
        for path in (*pages, "/keys", "/webhooks", walked[0], f"{walked[0]}/examples", compared):
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.goto(path)
                page.wait_for_load_state("networkidle")
                page.evaluate(axe)
                for one in page.evaluate("axe.run()")["violations"]:
                    if one["impact"] in ("serious", "critical"):
                        found.append((path, scheme, one["id"], [node["html"] for node in one["nodes"]][:3]))
    assert found == []
