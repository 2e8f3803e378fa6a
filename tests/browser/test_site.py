"""The site, opened from the disk without a connection: `make test-site`.

`make test` leaves it out, since what makes the site is not in requirements.txt. What is written for
Sphinx is tested in tests/project/test_pages.py. Screenshots go to the folder that `SCREENSHOTS`
names, where it is set.
"""

import importlib.util
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from notebooks.tools.lessons import LESSONS
from tests.browser.conftest import CHROMIUM

if not importlib.util.find_spec("myst_nb"):
    pytest.skip("Sphinx and myst-nb are not installed: make test-site", allow_module_level=True)
if not CHROMIUM and not os.environ.get("CI"):  # on CI a missing browser is a failure
    pytest.skip(
        "Debian's Chromium is not installed: apt-get install chromium", allow_module_level=True
    )

LOOKED_AT = ("index", "06_generate", "api/data")
# What sticks out of the screen at the right, code apart, and what hides the rest of its content.
TOO_WIDE = """() => {
    const found = [], code = "pre, .highlight, dialog, .bd-sidebar-primary, .bd-sidebar-secondary"
    for (const element of document.querySelectorAll("body *")) {
        const box = element.getBoundingClientRect()
        if (element.closest(code) || !box.width || !element.checkVisibility()) continue
        if (box.right > innerWidth + 1) found.push(`${element.tagName} ${element.textContent}`)
    }
    const page = document.scrollingElement
    if (page.scrollWidth > innerWidth) found.push(`the page: ${page.scrollWidth}`)
    return found.map(text => text.slice(0, 100))
}"""


class Page(HTMLParser):
    """What a page holds: its ids, links, pictures, and what it needs to be shown."""

    def __init__(self, file: Path):
        super().__init__()
        self.file, self.ids, self.links, self.pictures, self.needs = file, set(), [], [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img":
            self.pictures.append(found)
        if found.get("src"):
            self.needs.append(found["src"])
        if tag == "link" and found.get("rel") not in ("next", "prev", "index", "search", "author"):
            self.needs.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from notebooks.tools.site.__main__ import build

    folder = tmp_path_factory.mktemp("site") / "a site"  # a space, as in many users' names
    assert build(folder) == 0, "Sphinx warns of something, above"
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


@pytest.fixture
def open_page(browser, site):
    """Opens a page of the site; at the end none may have complained, or fetched a thing."""
    wrong, contexts = [], []

    def open_page(name, width=1280, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # on a machine that others use, too
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith("http") and wrong.append(asked.url))
        page.goto((site / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def test_every_lesson_and_helper_has_a_page(pages, site):
    names = {file.relative_to(site).as_posix() for file in pages}
    assert {f"{lesson.stem}.html" for lesson in LESSONS} <= names
    assert {"index.html", "manual.html", "api/training.html", "api/ui.html"} <= names


def test_links_lead_somewhere(pages, site):
    dead = []
    for file, page in pages.items():
        for link in page.links:
            if re.match(r"\w+:", link):
                continue
            path, _, place = unquote(link).partition("#")
            target = (file.parent / path).resolve() if path else file
            there = pages.get(target)
            if not target.is_file() or (place and there and place not in there.ids):
                dead.append(f"{file.relative_to(site)}: {link}")
    assert dead == []


def test_pages_need_nothing_from_elsewhere(pages, site):
    needed = {need for page in pages.values() for need in page.needs}
    assert [need for need in needed if re.match(r"(https?:)?//", need)] == []
    sheets = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheets)


def test_pictures_are_described(pages):
    described = [picture.get("alt") or "" for page in pages.values() for picture in page.pictures]
    assert len(described) > 10
    assert [alt for alt in described if len(alt.split()) < 5] == []


def test_a_lesson_shows_what_its_cells_have_printed(site):
    for lesson in LESSONS:
        page = " ".join(text_of(site / f"{lesson.stem}.html").split())
        cells = json.loads(lesson.file.read_text(encoding="utf-8"))["cells"]
        printed = [
            " ".join("".join(output["text"]).split())
            for cell in cells
            for output in cell.get("outputs", [])
            if output["output_type"] == "stream"
        ]
        assert printed
        assert [text for text in printed if text not in page] == [], lesson.stem


def text_of(file: Path) -> str:
    """The text of a page, without tags."""
    parts = []
    parser = HTMLParser()
    parser.handle_data = parts.append
    parser.feed(file.read_text(encoding="utf-8"))
    return "".join(parts)


def test_at_400_pixels_nothing_scrolls_sideways_but_code(open_page, pages, site):
    page = open_page("index", width=400)
    wide = {}
    for file in pages:
        if "_modules" in file.parts and file.stem != "data":  # nothing but code, all alike
            continue
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        if found := page.evaluate(TOO_WIDE):
            wide[file.relative_to(site).as_posix()] = found
    assert wide == {}


def test_at_1280_pixels_no_line_of_a_lesson_scrolls_sideways(open_page):
    page = open_page("index")
    for lesson in LESSONS:
        page.goto(page.url.rpartition("/")[0] + f"/{lesson.stem}.html")
        cut = page.evaluate(
            """() => [...document.querySelectorAll(".cell pre")]
                .filter(one => one.scrollWidth > one.clientWidth + 1)
                .map(one => one.textContent.slice(0, 60))"""
        )
        assert cut == [], lesson.stem


def test_the_first_screen_says_what_it_is_for(open_page):
    page = open_page("index")
    for what in ("h1", "text=Afterwards you can", "text=make lab", "text=make run", ".proof img"):
        box = page.locator(f"article {what}" if what[0] == "h" else what).first.bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= 800, what
    assert page.locator(".proof img").evaluate("image => image.naturalWidth") > 0


def test_next_and_previous_go_through_the_lessons(open_page):
    page = open_page(LESSONS[0].stem)
    for lesson in LESSONS[1:]:
        page.locator("a.right-next").click()
        page.wait_for_url(f"**/{lesson.stem}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"**/{LESSONS[-2].stem}.html")


def test_the_search_finds_a_word_of_a_lesson(open_page):
    page = open_page("index")
    page.locator(".bd-sidebar-primary button.search-button__button").first.click()
    page.locator("dialog input[type=search]").fill("temperature")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=temperature")
    link = page.locator("#search-results a", has_text="06 · Generate").first
    link.click()
    page.wait_for_url("**/06_generate.html*")


def test_dark_and_light(open_page):
    page = open_page("06_generate", scheme="dark")  # as the system has it
    assert brightness(page) < 60
    page.locator("button.theme-switch-button >> visible=true").first.click()
    page.locator(".theme-change-button >> visible=true").get_by_text("Light").click()
    page.wait_for_function("document.documentElement.dataset.theme == 'light'")
    page.wait_for_timeout(500)  # the colours fade
    assert brightness(page) > 200
    page.locator("a.right-next").click()
    page.wait_for_url("**/07_evaluate.html")
    assert brightness(page) > 200, "it stays as chosen"


def brightness(page) -> float:
    """Of the background, from 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_a_helper_leads_to_its_source(open_page):
    page = open_page("api/data")
    page.locator("dt#helpers\\.data\\.hold_out").get_by_text("[source]").click()
    page.wait_for_url("**/_modules/helpers/data.html#hold_out")
    assert "def hold_out(texts: list[str])" in page.locator("#hold_out").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1280])
def test_screenshots(open_page, scheme, width):
    folder = os.environ.get("SCREENSHOTS")
    if not folder:
        pytest.skip("SCREENSHOTS names no folder")
    for name in LOOKED_AT:
        page = open_page(name, width, scheme)
        file = f"site-{name.replace('/', '-')}-{width}-{scheme}.png"
        page.screenshot(path=str(Path(folder) / file))
