"""The site: no warning while it is built, no link that leads nowhere, nothing asked of another host, light or dark."""

import re
import shutil
import threading
from contextlib import redirect_stderr
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from io import StringIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

pytest.importorskip("myst_nb", reason="myst-nb is not installed: `make setup` installs it")
# What Sphinx and its extensions say of one another; a process of their own would not show it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PACKAGES = ("attention", "models", "datasets", "training", "insight", "check", "lesson")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


class Page(HTMLParser):
    """What a page is made of: its ids, where its links lead, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.loads = {""}, set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes.get("id"), attributes.get("name")}
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])
        if tag in ("img", "script", "iframe", "source") and attributes.get("src"):
            self.loads.add(attributes["src"])
        if tag == "link" and {"stylesheet", "icon", "preload"} & set(attributes.get("rel", "").split()):
            self.loads.add(attributes["href"])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Where the site lies, and what was said while it was built, here: a process of its own would import torch anew."""
    website = pytest.importorskip("website", reason="nbconvert is not installed: `make setup` installs it")
    target, said = tmp_path_factory.mktemp("built") / "site", StringIO()
    try:
        with redirect_stderr(said):
            failed = website.build(target)
    except SystemExit as no_vendor:
        pytest.skip(str(no_vendor))
    assert not failed, said.getvalue()
    return target, said.getvalue()


@pytest.fixture(scope="module")
def site(built) -> Path:
    return built[0]


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_it_is_built_without_a_warning(built):
    assert not re.findall(r".*(?:WARNING|ERROR).*", built[1])


def test_no_link_leads_nowhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            spelled = {parts.fragment, unquote(parts.fragment)}  # a browser tries both
            if not target.exists() or (target in pages and not spelled & pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken
    assert sum(len(page.links) for page in pages.values()) > 500


def test_no_page_loads_anything_from_elsewhere(site, pages):
    for path, page in pages.items():
        assert not [url for url in page.loads if urlsplit(url).scheme not in ("", "data")], path.relative_to(site)


def test_the_gallery_has_every_figure_with_its_text_and_leads_to_it(site):
    outputs = [o for path in LESSONS for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", [])]
    alts = [o.metadata[kind]["alt"] for o in outputs for kind in o.get("data", {}) if kind.startswith("image/")]
    gallery = (site / "gallery.html").read_text(encoding="utf-8")
    assert [unescape(alt) for alt in re.findall(r'<img src="figures/[^"]*" alt="([^"]*)"', gallery)] == alts
    assert len(re.findall(r'<a href="notebooks/\w+\.html#figure-\d+"><img', gallery)) == len(alts)
    lessons = "".join(path.read_text(encoding="utf-8") for path in (site / "notebooks").glob("*.html"))
    assert set(alts) <= {unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"', lessons)}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_launches_from_the_address_of_pyproject(pages, site, path):
    address = re.search(r'^Repository = "https://github.com/(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    links = pages[site / "notebooks" / f"{path.stem}.html"].links
    assert f"https://colab.research.google.com/github/{address}/blob/main/notebooks/{path.name}" in links
    binder = [link for link in links if link.startswith(f"https://mybinder.org/v2/gh/{address}/main?")]
    assert binder and all(path.name in link for link in binder)


@pytest.mark.parametrize("name", PACKAGES)
def test_everything_public_is_in_the_reference(pages, site, name):
    module = import_module(f"attn_lessons.{name}")
    classes = [public for public in module.__all__ if callable(getattr(module, public))]
    assert {f"attn_lessons.{name}.{public}" for public in classes} <= pages[site / "api.html"].ids


def test_in_a_browser_nothing_is_asked_of_another_host_and_dark_suits_it(site):
    if not BROWSER:
        pytest.skip("no Chromium here: `sudo apt install chromium`, then run this again")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make setup` installs it")
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    handler.func.log_message = lambda *_: None
    requests, failed, errors = [], [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, api.sync_playwright() as playwright:
        server.handle_error = lambda *_: None  # a page left before all of it came
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
        page.set_default_timeout(60_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("response", lambda response: response.status >= 400 and failed.append(response.url))
        page.on("pageerror", lambda error: errors.append(error))
        for name in ("index", "gallery", "api", "search", "presentations", "slides/index"):
            page.goto(f"{home}{name}.html", wait_until="networkidle")

        page.goto(f"{home}search.html?q=squeeze")
        page.wait_for_selector("ul.search li")
        page.goto(f"{home}notebooks/06_linear_attention.html", wait_until="networkidle")
        page.wait_for_selector("mjx-container svg")
        figure = page.locator(".cell_output img").first
        assert figure.evaluate("e => [getComputedStyle(e).filter, getComputedStyle(e).backgroundColor]") == [
            "none",
            "rgb(255, 255, 255)",
        ]
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        page.get_by_text("Show code cell source").first.click()
        chromium.close()
        server.shutdown()
    assert not [url for url in requests if not url.startswith((home, "data:"))]
    assert not failed and not errors
