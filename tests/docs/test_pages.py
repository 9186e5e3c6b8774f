"""The site in a real browser: every page, as wide as a screen and as wide as a phone; pictures in .cache/screenshots.

It needs Chromium on the PATH: `apt-get install chromium` (`.ci/run` does that), or Google Chrome.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("pages")]

_ROOT = Path(__file__).parents[2]
_SCREENSHOTS = _ROOT / ".cache/screenshots"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDTHS = {"screen": 1280, "phone": 390}
_SMALLEST_LETTERS = 8.0  # pixels, of a picture's text
# What is wider than its place and can be scrolled within it is fine; what sticks out, or is cut, is not.
_CUT = """() => [...document.querySelectorAll('article *')]
  .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === 'hidden'
    && each.clientWidth > 1)
  .map(each => each.outerHTML.slice(0, 120))"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


@pytest.fixture(name="folder", scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [Path(sys.executable).parent / "mkdocs", "build", "--quiet", "--site-dir", folder], cwd=_ROOT, check=True
    )
    return folder


@pytest.fixture(name="address", scope="module")
def serve(folder: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(name="browser", scope="module")
def start() -> Iterator[Browser]:
    """Chromium, without a window."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert found, f"no browser: install one of {', '.join(_BROWSERS)}, such as by `apt-get install chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", _WIDTHS)
def test_every_page_fits_and_says_nothing_to_the_console(
    browser: Browser, address: str, folder: Path, width: str
) -> None:
    """No page is wider than its window, nothing is cut off, every link leads somewhere, and search is in sight."""
    page = browser.new_page(viewport={"width": _WIDTHS[width], "height": 900})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(f"{page.url}: console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("response", lambda answer: wrong.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None)
    (_SCREENSHOTS / width).mkdir(parents=True, exist_ok=True)
    names = _names(folder)

    for name in names:
        page.goto(f"{address}/{name}")
        picture = f"{name.strip('/').replace('/', '-') or 'index'}.png"
        page.screenshot(path=_SCREENSHOTS / width / picture, full_page=True)
        wrong += [f"/{name}: {what}" for what in _misfits(page, _WIDTHS[width])]
    page.close()

    assert len(names) > 25
    assert wrong == []


def test_every_link_within_the_site_leads_somewhere(browser: Browser, address: str, folder: Path) -> None:
    """To a page, and to a place that is on it."""
    page = browser.new_page()
    links: dict[str, str] = {}
    places: dict[str, set[str]] = {}
    for name in _names(folder):
        page.goto(f"{address}/{name}")
        places[f"{address}/{name}"] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)"))
        for link in page.evaluate("[...document.querySelectorAll('a[href]')].map(each => each.href)"):
            links.setdefault(link, name)
    page.close()

    own = [link for link in links if link.startswith(address) and not re.search(r"\.\w+$", link)]
    broken = []
    for link in own:
        target, _, place = link.partition("#")
        if target not in places or (place and place not in places[target]):
            broken.append(f"{links[link]}: {link}")
    assert len(own) > 100
    assert broken == []


def test_code_is_highlighted_and_can_be_copied(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)

    block = page.locator("div.highlight").first
    assert block.locator("span").count() > 5
    assert page.locator("div.highlight button").count() == page.locator("div.highlight").count()
    page.close()


def test_search_finds_a_setting(browser: Browser, address: str) -> None:
    """As typed: the first results tell of it."""
    page = browser.new_page(viewport={"width": _WIDTHS["screen"], "height": 900})
    page.goto(address)

    page.locator("input[name=query]").click()
    page.locator("input[name=query]").press_sequentially("max_streams")
    page.locator(".md-search-result__item").first.wait_for()
    results = page.locator(".md-search-result__item").all_inner_texts()
    page.close()

    assert [text for text in results if "max_streams" in text]


def test_letters_in_pictures_can_be_read_on_a_phone(browser: Browser, address: str, folder: Path) -> None:
    page = browser.new_page(viewport={"width": _WIDTHS["phone"], "height": 900})
    found = {}
    for name in (name for name in _names(folder) if ".svg" in (folder / name / "index.html").read_text()):
        page.goto(f"{address}/{name}")
        for picture in page.locator("article img").all():
            shown = picture.bounding_box()
            text = (folder / str(picture.get_attribute("src")).replace("../", "")).read_text()
            [full, *_] = re.findall(r'viewBox="0 0 ([\d.]+)', text)
            letters = re.findall(r"(?:font-size[:=]\"?|font:[^;}]*?)([\d.]+)(?:px|\")", text)
            scale = (shown["width"] if shown else 0) / float(full)
            found[picture.get_attribute("src")] = min(map(float, letters)) * scale
    page.close()

    assert len(found) >= 3
    assert {src: size for src, size in found.items() if size < _SMALLEST_LETTERS} == {}


def _names(folder: Path) -> list[str]:
    """Return the addresses of all pages, below the site's own."""
    found = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("index.html"))
    return ["" if name == "." else f"{name}/" for name in found]


def _misfits(page: Page, width: int) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = [f"is {wide} pixels wide"] if wide > width else []
    found += [f"cut off: {each}" for each in page.evaluate(_CUT)]
    field, sign = page.locator(".md-search__form"), page.locator(".md-header label[for=__search]").first
    return found if field.is_visible() or sign.is_visible() else [*found, "there is no search in sight"]
