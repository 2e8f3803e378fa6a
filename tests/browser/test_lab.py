"""The lessons in JupyterLab, in a real browser, as a learner opens them: look, Run All, click.

Screenshots go to the folder named by `SCREENSHOTS`, where it is set.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.browser.conftest import CHROMIUM

ROOT = Path(__file__).resolve().parent.parent.parent
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MAKE_LAB = re.search(r"/jupyter lab (.+)", MAKEFILE)[1].split()
# Run from top to bottom: what moves while a cell runs, or is played with. Of the others nbval runs
# the very same cells, so here they are looked at as they are stored.
RUN_ALL = ("02", "03", "05", "06")
# What the one cell of a stored lesson that shows a widget needs from those above it: untrained.
HELPERS = "import sys; sys.path.insert(0, '..')\n"
MODEL = f"""{HELPERS}
from helpers import loading, lora, profiles, wrapped
from helpers.generation import Sampling
base, tokenizer = loading.load_base(profiles.choose("tiny"))
"""
NEEDS = {
    "01": HELPERS,
    "08": MODEL + "keeper, PROMPT = base, 'The gull'",
    "09": MODEL + "model = lora.adapt(base, 8, 0)\n"
    "for name in ('encyclopedia', 'log'):\n"
    "    model.add_adapter(name, model.peft_config['default'])",
}

if not CHROMIUM and not os.environ.get("CI"):  # on CI a missing browser is a failure
    pytest.skip(
        "Debian's Chromium is not installed: apt-get install chromium", allow_module_level=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What JupyterLab shows: a copy of the lessons and helpers."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def lab(folder):
    """JupyterLab over that folder; its address."""
    for name in ("notebooks", "helpers"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    shutil.copy(ROOT / "requirements.txt", folder)  # lesson 01 reads it
    # A sixth of the steps shows as much of the live plot; lesson 06 writes with what it leaves.
    lesson = folder / "notebooks" / "05_fine_tune.ipynb"
    text = lesson.read_text(encoding="utf-8")
    assert text.count('"EPOCHS = 3\\n"') == 1
    lesson.write_text(text.replace('"EPOCHS = 3\\n"', '"EPOCHS = 0.5\\n"'), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "GPT2_TUTORIAL_HOME": str(folder / "home"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ServerApp.port_retries=0", "--IdentityProvider.token=", *MAKE_LAB,
               "--LabApp.expose_app_in_browser=True",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    answered = folder / "settings" / "@jupyterlab" / "apputils-extension"
    answered = answered / "notification.jupyterlab-settings"
    answered.parent.mkdir(parents=True)  # else JupyterLab asks, on top of the page, about news
    answered.write_text('{"fetchNews": "false"}', encoding="utf-8")
    with open(folder / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=1)
            break
        except OSError:
            assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")
            time.sleep(0.25)
    yield address
    server.terminate()
    server.wait(20)


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def open_lesson(page, lab, name):
    page.goto(f"{lab}/lab/tree/notebooks/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    session = "window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session"
    page.wait_for_function(f"{session}?.kernel?.status === 'idle'")


def run_all(page, seconds):
    """Run > Run All Cells, and wait until every code cell has its number and the kernel is idle."""
    page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(
        """() => {
            const notebook = jupyterapp.shell.currentWidget
            const code = notebook.content.model.cells
            let done = notebook.context.sessionContext.session.kernel.status === 'idle'
            for (let i = 0; i < code.length; i++) {
                const cell = code.get(i)
                if (cell.type === 'code' && !cell.executionCount) done = false
            }
            const error = '[data-mime-type="application/vnd.jupyter.error"]'
            return done || document.querySelector('.jp-Notebook ' + error)
        }""",
        timeout=1000 * seconds,
        polling=500,
    )


def outputs(page):
    """Every output of the open notebook, as nbformat has it."""
    return page.evaluate(
        """() => { const found = []
            const cells = jupyterapp.shell.currentWidget.content.model.toJSON().cells
            for (const cell of cells) found.push(...cell.outputs || [])
            return found }"""
    )


def picture(page, name):
    """A screenshot of a page, or of a part of it."""
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png")


def nothing_is_wrong(page):
    found = outputs(page)
    assert found, "nothing ran"
    assert not [output for output in found if output["output_type"] == "error"]
    assert not [output for output in found if output.get("name") == "stderr"]
    assert page.locator(".jp-OutputArea", has_text="Error displaying widget").count() == 0
    assert page.locator(".jp-Dialog").count() == 0


@pytest.mark.parametrize("name", [name for name in LESSONS if name[:2] not in RUN_ALL])
def test_a_lesson_as_it_is_stored(page, lab, name):
    open_lesson(page, lab, name)
    draw_all(page)
    nothing_is_wrong(page)
    notes = page.locator(".jp-OutputArea").get_by_text(re.compile(r"^\(No .+ Run All Cells\.\)$"))
    assert notes.count() == (name[:2] in NEEDS), "a cell with a widget: what does it need?"
    if name[:2] in NEEDS:
        assert notes.first.is_visible()
        run_the_cell_with_the_note(page, NEEDS[name[:2]])
        nothing_is_wrong(page)
        page.locator(".jp-OutputArea .jupyter-widgets > *").first.wait_for()
        notes.first.wait_for(state="hidden")
        assert unnamed(page.locator(".jp-OutputArea"))[0] == []
    look_at_the_whole(page, name.removesuffix(".ipynb"))


def run_the_cell_with_the_note(page, needs):
    """Run `needs` unseen, then the one cell whose stored output has the note of a widget."""
    said = page.evaluate(
        """async needs => {
            const notebook = jupyterapp.shell.currentWidget
            const kernel = notebook.context.sessionContext.session.kernel
            const reply = await kernel.requestExecute({code: needs}).done
            const cells = notebook.content.model.toJSON().cells
            notebook.content.activeCellIndex = cells.findIndex(
                cell => JSON.stringify(cell.outputs || []).includes('Run All Cells.)'))
            await jupyterapp.commands.execute('notebook:run-cell')
            return reply.content.traceback?.join(' ')
        }""",
        needs,
    )
    assert not said, said


@pytest.mark.parametrize("name", [name for name in LESSONS if name[:2] in RUN_ALL])
def test_run_all(page, lab, name):
    open_lesson(page, lab, name)
    if name.startswith("05"):
        watch_the_live_plot(page)
    run_all(page, 900)
    nothing_is_wrong(page)
    explorers = page.locator(".jp-OutputArea .widget-vbox").locator("visible=true")
    if name[:2] in ("02", "03", "06"):
        assert explorers.count()
        assert unnamed(explorers)[0] == [], "a screen reader has nothing to say of them"
    if name.startswith("02"):
        browse_the_articles(page)
    if name.startswith("03"):
        explore_tokens(page)
    if name.startswith("05"):
        assert page.evaluate("window.drawings.size") >= 3, (
            "the live plot changed while the training ran"
        )
    if name.startswith("06"):
        move_a_slider(page)
        play_with_the_prompt_box(page)
    look_at_the_whole(page, name.removesuffix(".ipynb"))


def draw_all(page):
    """A window as high as the lesson, and a wait until each cell is there."""
    page.set_viewport_size({"width": 1280, "height": 24_000})  # else what is below is not drawn
    page.wait_for_function(
        """document.querySelectorAll('.jp-Notebook .jp-Cell').length
            === jupyterapp.shell.currentWidget.content.model.cells.length"""
    )
    page.wait_for_timeout(1000)


def look_at_the_whole(page, name):
    """With the side bar open, nothing scrolls sideways; pictures, also narrow and dark."""
    draw_all(page)
    assert page.locator(".jp-FileBrowser").is_visible()
    assert page.locator(".jp-Notebook .jp-Cell").last.is_visible()
    assert scroll_bars(page, "x") == []
    notebook = page.locator(".jp-WindowedPanel-inner")
    if os.environ.get("SCREENSHOTS"):
        picture(notebook, name)
        with dark_theme(page):
            picture(notebook, f"{name}_dark")
    page.set_viewport_size({"width": 800, "height": 24_000})
    page.wait_for_timeout(1000)
    picture(notebook, f"{name}_800")
    cut_off = """images => images.filter(image => image.getBoundingClientRect().right >
        image.closest('.jp-OutputArea-output').getBoundingClientRect().right + 1).length"""
    assert page.locator(".jp-OutputArea-output img").evaluate_all(cut_off) == 0
    page.set_viewport_size({"width": 1280, "height": 1000})


@contextlib.contextmanager
def dark_theme(page):
    """JupyterLab in its dark theme, which its settings keep: so it is light again afterwards."""
    choose_theme(page, "JupyterLab Dark")
    try:
        yield
    finally:
        choose_theme(page, "JupyterLab Light")


def choose_theme(page, name):
    page.evaluate(f"jupyterapp.commands.execute('apputils:change-theme', {{theme: '{name}'}})")
    page.wait_for_function(f"document.body.dataset.jpThemeName === '{name}'")
    page.wait_for_timeout(500)


def watch_the_live_plot(page):
    """Collects every different picture of the loss curves that the page shows, from now on."""
    page.evaluate(
        """() => { window.drawings = new Set()
            setInterval(() => document.querySelectorAll('img[alt="loss curves"]').forEach(
                image => window.drawings.add(image.src)), 100) }"""
    )


def widget_with(page, control):
    """The box of widgets that holds a control, scrolled into view, and its part that shows HTML."""
    box = page.locator(".jp-OutputArea .widget-vbox", has=page.locator(control)).first
    box.scroll_into_view_if_needed()
    return box, box.locator(".widget-html-content").last


def wait_for_change(page, shown, before):
    page.wait_for_function(
        "([node, old]) => node.innerHTML !== old", arg=[shown.element_handle(), before]
    )
    return shown.inner_html()


def browse_the_articles(page):
    box, shown = widget_with(page, "select")
    height, before = box.bounding_box()["height"], shown.inner_html()
    box.locator("select").select_option("The volcano")
    marked = wait_for_change(page, shown, before)
    page.wait_for_timeout(500)
    assert box.bounding_box()["height"] == height, "of any article: the page does not jump"
    assert scroll_bars(page, within=".jp-OutputArea-output") == [], "this one fits"
    assert "volcano" in shown.inner_text() and "@-@" not in shown.inner_text()
    box.locator("input[type=checkbox]").focus()
    page.keyboard.press("Space")
    wait_for_change(page, shown, marked)
    assert "@-@" in shown.inner_text(), "the marks are back"
    picture(page, "article_browser")


def explore_tokens(page):
    box, shown = widget_with(page, "textarea")
    before = shown.inner_html()
    box.locator("textarea").fill("1\n2\n3\n4\n5")
    before = wait_for_change(page, shown, before)
    assert scroll_bars(page, within=".jp-OutputArea-output") == [], "five lines fit into the box"
    box.locator("textarea").fill("<b>café</b> 🙂")
    wait_for_change(page, shown, before)
    assert "<" in shown.inner_text() and shown.locator("b").count() == 0, "markup is shown as text"
    assert "tokens" in shown.inner_text()
    picture(page, "token_explorer")


def move_a_slider(page):
    box, shown = widget_with(page, "img")  # the prompt box above it has sliders too
    before = shown.inner_html()
    handle = box.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    wait_for_change(page, shown, before)
    picture(page, "sampling_explorer")


def play_with_the_prompt_box(page):
    box = Box(page, 0)
    box.prompt.fill(" = The bridge = \n")
    box.press("Generate")
    first = box.wait_for_another_text()
    assert "= The bridge =" in first and len(first) > 40
    picture(box.widget, "prompt_box")
    box.press("Regenerate")
    assert "= The bridge =" in box.wait_for_another_text()
    box.widget.get_by_role("checkbox", name="the base model beside yours").check()
    box.press("Generate")
    assert "base model" in box.wait_for_another_text()
    picture(box.widget, "prompt_box_with_base")


class Box:
    """A prompt box on the page, played with as a learner does."""

    def __init__(self, page, number):
        self.page = page
        self.widget = page.locator(
            ".jp-OutputArea .widget-vbox", has=page.get_by_role("button", name="Regenerate")
        )
        self.widget = self.widget.locator("visible=true").nth(number)
        self.widget.scroll_into_view_if_needed()
        self.prompt = self.widget.locator("textarea")
        self.before, self.told = self.text(), ""

    def text(self):
        return "".join(self.widget.locator("div[style*='pre-wrap']").all_inner_texts())

    def status(self):
        return self.widget.locator("div[role=status]").inner_text()

    def button(self, name):
        return self.widget.get_by_role("button", name=name, exact=True)

    def press(self, name):
        self.before = self.text()
        self.button(name).click()

    def wait(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.status(), self.text())
            self.page.wait_for_timeout(50)

    def wait_for_another_text(self):
        self.wait(lambda: self.text() != self.before and self.status() != self.told)
        self.wait(lambda: self.status().startswith("Text"))
        self.before, self.told = self.text(), self.status()
        self.page.wait_for_timeout(350)  # longer than a double click
        return self.before

    def set(self, label, value):
        """Type a value into the field beside a slider."""
        self.field(label).fill(str(value))
        self.field(label).press("Enter")

    def field(self, label):
        return self.widget.get_by_role("spinbutton", name=label, exact=True)


def open_cells(page, lab, folder, cells):
    """A notebook of these code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, folder / "notebooks" / "cells.ipynb")
    open_lesson(page, lab, "cells.ipynb")


def height_of_the_notebook(page):
    cells = page.locator(".jp-Notebook .jp-Cell").all()
    return sum(cell.bounding_box()["height"] for cell in cells)


def reopen_without_kernels(page, lab, name):
    """Save the notebook that is open, and come back the next morning."""
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    open_lesson(page, lab, name)


def test_the_next_morning_a_note_says_how_a_widget_comes_back(page, lab, folder):
    cell = "show_widget(ipywidgets.IntSlider(), '(No slider here? Run > Run All Cells.)')"
    cells = [HELPERS + "import ipywidgets\nfrom helpers.ui.explore import show_widget", cell, cell]
    open_cells(page, lab, folder, cells)
    run_all(page, 300)
    notes = page.get_by_text("(No slider here? Run > Run All Cells.)", exact=True)
    page.wait_for_selector(".widget-slider")
    assert notes.count() == 2 and not any(note.is_visible() for note in notes.all())
    reopen_without_kernels(page, lab, "cells.ipynb")
    page.wait_for_selector("text=Error displaying widget")
    assert all(note.is_visible() for note in notes.all())
    picture(page, "next_morning")
    page.locator(".jp-CodeCell .jp-InputArea").first.click()
    for _ in range(2):
        page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".widget-slider")
    assert [note.is_visible() for note in notes.all()] == [False, True]


def test_a_link_out_of_the_lessons_opens(page, lab):
    """As `make lab` starts JupyterLab, the whole repository can be reached."""
    open_lesson(page, lab, "01_install.ipynb")
    page.get_by_role("link", name=re.compile("^289 children's books")).click()
    page.wait_for_function(
        "jupyterapp.shell.currentWidget?.context?.path === 'helpers/bundled/model/README.md'"
    )


def test_the_stop_button_of_a_training_is_heard_while_its_cell_runs(page, lab, folder):
    cells = [
        HELPERS + "from helpers import data, loading, profiles, training\n"
        "from helpers.ui import live_plot\n"
        "profile = profiles.choose('tiny')\nmodel, tokenizer = loading.load_base(profile)\n"
        "train_tokens, validation_tokens = data.prepare(profile, tokenizer)",
        "summary = training.train(model, tokenizer, train_tokens, validation_tokens, profile,\n"
        "                         profiles.home() / 'stopped', [live_plot.LivePlot()])",
        "print(summary['stopped_early'], model.training, summary['steps'])",
    ]
    open_cells(page, lab, folder, cells)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_selector("img[alt='loss curves']")
    stop = page.get_by_role("button", name="Stop", exact=True)
    page.wait_for_selector("text=/step [1-9]/")
    before = height_of_the_notebook(page)
    stop.click()
    page.wait_for_selector("text=/(True|False) (True|False) \\d+/")
    assert page.locator("img[alt='loss curves']").is_visible() and stop.is_disabled()
    assert height_of_the_notebook(page) >= before, "nothing vanishes, so the page does not jump"
    assert page.get_by_text(re.compile(r"^Stopped after \d+ of 108 steps: validation")).count()
    picture(page, "live_plot_stopped")
    stopped, training, steps = outputs(page)[-1]["text"].split()
    assert (stopped, training) == ("True", "False")
    assert int(steps) < 72, "of 108"


# A token takes 10 ms at least, as with a larger model: else a text may be complete before Stop is
# pressed.
SLOWED = "import time\nmodel.register_forward_hook(lambda *_: time.sleep(0.01))"


@pytest.fixture
def boxes(page, lab, folder):
    """Two prompt boxes in a notebook of their own."""
    cells = [
        HELPERS + "from helpers import loading, profiles\n"
        "from helpers.ui.prompt_box import PromptBox\n"
        "model, tokenizer = loading.load_pretrained(profiles.BUNDLED / 'model')\n"
        "base, _ = loading.load_pretrained(profiles.BUNDLED / 'model')\n" + SLOWED,
        "PromptBox(model, tokenizer, prompt=' = The lighthouse = \\n', base=base).show()",
        "PromptBox(model, tokenizer, prompt='The second box').show()",
    ]
    open_cells(page, lab, folder, cells)
    run_all(page, 300)
    for box in (Box(page, 0), Box(page, 1)):
        assert not box.field("length").count(), "folded"
        box.press("Dials")
    return Box(page, 0), Box(page, 1)


def test_the_prompt_box(page, boxes):
    box, other = boxes
    for name in ("Regenerate", "Stop", "Back", "Forward", "Restore", "Save"):
        assert box.button(name).is_disabled(), name
    box.press("Generate")
    first = box.wait_for_another_text()
    assert first.startswith(" = The lighthouse =") and "seed 0" in box.status()
    assert box.button("Regenerate").is_enabled() and box.button("Stop").is_disabled()
    picture(page, "prompt_box_1280")
    assert page.locator(".jp-FileBrowser").is_visible(), "the side bar takes its share"
    assert scroll_bars(page, within=".jp-OutputArea-output") == []
    picture(other.widget, "prompt_box_empty")

    box.press("Regenerate")
    second = box.wait_for_another_text()
    assert second.startswith(" = The lighthouse =") and second != first and "seed 1" in box.status()

    box.set("length", 300)
    box.press("Generate")
    box.wait(lambda: box.status().startswith("Writing"))
    box.wait(lambda: len(box.text()) > 60)
    box.press("Stop")
    stopped = box.wait_for_another_text()
    tokens = box.widget.locator("div[style*='pre-wrap'] span").count()
    assert 0 < tokens < 300, "stopped in the middle"
    page.wait_for_timeout(500)
    assert box.text() == stopped, "and it stays so"

    handle = box.widget.locator(".noUi-handle").nth(1)  # under length: temperature
    handle.focus()
    for _ in range(4):
        handle.press("ArrowLeft")
    box.wait(lambda: box.field("temperature").input_value() == "0.6")

    box.set("length", 20)
    box.set("top-p", 0.92)  # between two steps of the slider
    box.press("Generate")
    box.wait_for_another_text()
    assert (
        "temperature 0.6" in box.status()
        and "top-p 0.92" in box.status()
        and "20 tokens" in box.status()
    )

    box.field("Token").fill("3")
    box.field("Token").press("Tab")
    box.wait(lambda: box.widget.locator("span[style*='outline']").count() == 1)
    choices = box.widget.locator("button", has_text="%")
    assert choices.count() == 8
    assert "%" in box.widget.locator("div[style*='pre-wrap'] span").first.get_attribute("title")
    box.before = box.text()
    choices.nth(5).click()
    branch = box.wait_for_another_text()
    assert "continued from token 3" in box.status()
    picture(page, "prompt_box_branch")

    box.press("Back")
    box.wait(lambda: box.text() != branch)
    assert "Text 4 of 5" in box.status()
    box.press("Forward")
    box.wait(lambda: box.text() == branch)

    box.widget.get_by_role("checkbox", name="the base model beside yours").check()
    box.press("Generate")
    beside = box.wait_for_another_text()
    assert "your model" in beside and "base model" in beside
    picture(page, "prompt_box_beside")

    box.prompt.fill("<img src=x onerror=alert(1)> **The** castle & the <b>river</b> &lt; $x^2$")
    box.press("Generate")
    assert (
        "<img src=x onerror=alert(1)> **The** castle & the <b>river</b> &lt; $x^2$"
        in box.wait_for_another_text()
    )
    box.prompt.fill("   ")
    box.press("Generate")
    box.wait(lambda: "The prompt is empty" in box.status())

    box.prompt.fill("Once")
    box.set("length", 300)
    box.press("Generate")
    box.wait(lambda: box.status().startswith("Writing"))
    other.press("Generate")
    other.wait_for_another_text()
    box.wait(lambda: box.status().startswith("Text"))
    assert other.text().startswith("The second box"), (
        "one writes at a time, and the new one is asked for last"
    )
    assert not page.get_by_text("Error displaying widget").count()


def scroll_bars(page, directions="xy", within=".jp-Notebook"):
    """What in the notebook is larger than its place and scrolls in one of the directions."""
    return page.evaluate(
        """([directions, within]) => [...document.querySelectorAll(within + ' *')].filter(part => {
            const style = getComputedStyle(part)
            const wide = part.scrollWidth > part.clientWidth + 1
            const high = part.scrollHeight > part.clientHeight + 1
            const scrolls = overflow => ['auto', 'scroll'].includes(overflow)
            return directions.includes('x') && wide && scrolls(style.overflowX)
                || directions.includes('y') && high && scrolls(style.overflowY)
        }).map(part => part.className + ': ' + part.innerText.slice(0, 80))""",
        [directions, within],
    )


# Of each text and each control in a part of a page that is weaker than 4.5 to 1 (the least by
# https://www.w3.org/TR/WCAG21/#contrast-minimum): its contrast, and what it says.
WEAK = """part => {
    const numbers = color => color.match(/[\\d.]+/g).map(Number)
    const mixed = (top, share, below) => below.map((one, i) => top[i] * share + one * (1 - share))
    const over = (color, below) => mixed(numbers(color), numbers(color)[3] ?? 1, below)
    const light = color => color.map(one => one / 255).map(
        one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4
    ).reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0.05)
    const contrast = element => {
        const line = [], faded = []
        for (let one = element; one; one = one.parentElement) line.unshift(getComputedStyle(one))
        let back = [255, 255, 255]
        for (const style of line) {
            if (style.opacity < 1) faded.unshift([+style.opacity, back])
            back = over(style.backgroundColor, back)
        }
        let front = over(line.at(-1).color, back)
        for (const [share, below] of faded)
            [front, back] = [mixed(front, share, below), mixed(back, share, below)]
        const [less, more] = [light(front), light(back)].sort((one, other) => one - other)
        return more / less
    }
    const says = element => element.value?.trim() || [...element.childNodes].filter(
        node => node.nodeType === 3).map(node => node.data.trim()).join('')
    return [...part.querySelectorAll('*')].filter(
        element => element.offsetParent && says(element) && contrast(element) < 4.5
    ).map(element => `${contrast(element).toFixed(2)} ${says(element)}`)
}"""


def test_the_text_of_the_prompt_box_stands_out_in_both_themes(page, boxes):
    """Each shade of a token, and what is greyed."""
    box, other = boxes
    box.set("temperature", 0.5)  # so that many tokens are likely, and some are not
    box.press("Generate")
    box.wait_for_another_text()
    for part in (box.widget, other.widget):
        assert part.evaluate(WEAK) == []
    with dark_theme(page):
        picture(page, "prompt_box_dark")
        for part in (box.widget, other.widget):
            assert part.evaluate(WEAK) == []


def test_the_growing_text_is_on_screen_at_800(page, boxes):
    box, _ = boxes
    page.set_viewport_size({"width": 800, "height": 600})
    box.button("Generate").scroll_into_view_if_needed()
    box.set("length", 300)
    box.button("Generate").scroll_into_view_if_needed()
    box.press("Generate")
    box.wait(lambda: box.status().startswith("Writing") and len(box.text()) > 60)
    tops = box.widget.evaluate(  # at once: the text is drawn anew all the time
        """widget => [[...widget.querySelectorAll('button')].find(one => one.innerText === 'Stop'),
            widget.querySelector("div[style*='pre-wrap']")].map(
            part => part.getBoundingClientRect().top)"""
    )
    assert 0 < tops[0] < tops[1] < tops[0] + 120 < 600
    assert not box.field("Token").count(), "no alternatives while it writes"
    picture(page, "prompt_box_writing_800")
    box.press("Stop")
    box.wait(lambda: box.field("Token").count() == 1)


def tab_to(page, name):
    """Press Tab until the control of this name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(NAMES + "names(document.activeElement)"):
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_the_prompt_box_with_the_keyboard_alone(page, boxes):
    box, _ = boxes
    page.set_viewport_size({"width": 800, "height": 1000})
    box.prompt.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("The ship", delay=30)
    tab_to(page, "Generate")
    page.keyboard.press("Space")
    assert box.wait_for_another_text().startswith("The ship")
    tab_to(page, "Regenerate")
    page.keyboard.press("Enter")
    box.wait_for_another_text()

    tab_to(page, "length")
    page.keyboard.type("300")
    texts, tokens = 2, 300
    while tokens == 300 and texts < 6:  # a busy browser may press Stop too late
        texts += 1
        while "Generate" not in page.evaluate(NAMES + "names(document.activeElement)"):
            page.keyboard.press("Shift+Tab")  # back over the beginning
        page.keyboard.press("Space")
        box.wait(
            lambda: box.text() != box.before and box.status() != box.told and len(box.text()) > 60
        )
        tab_to(page, "Stop")
        page.keyboard.press("Space")
        box.wait_for_another_text()
        tokens = box.widget.locator("div[style*='pre-wrap'] span").count()
    assert 2 < tokens < 300, "stopped in the middle"

    tab_to(page, "Token")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    third = box.widget.locator("div[style*='pre-wrap'] span").nth(2)
    box.wait(lambda: "outline" in third.get_attribute("style"))
    tab_to(page, "Take this token instead, and go on from there")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    box.wait_for_another_text()
    assert "continued from token 3" in box.status()
    for name in ("Back", "Forward", "Restore", "Save"):
        box.wait(lambda name=name: box.button(name).is_enabled())
        tab_to(page, name)
        page.keyboard.press("Space")
    box.wait(lambda: f"Saved: {texts + 1} texts" in box.status())
    box.widget.scroll_into_view_if_needed()
    picture(page, "prompt_box_800")


# What a screen reader may say of a control: its text, its title, its label (U+200B where
# ipywidgets was given none).
NAMES = """const names = control => [
    control.innerText, control.title, control.getAttribute('aria-label'),
    ...[...control.labels || []].map(label => label.textContent.replaceAll('\\u200b', ''))
    ].map(name => name?.trim()).filter(Boolean);
"""


def unnamed(part):
    """The controls in this part of a page that a screen reader cannot name; how many it holds."""
    controls = part.locator("button, textarea, input, select").locator("visible=true")
    return controls.evaluate_all(
        "controls => {"
        + NAMES
        + "return controls.filter(one => !names(one).length).map(one => one.outerHTML)}"
    ), controls.count()


def test_every_control_of_the_prompt_box_has_a_name(page, boxes):
    box, _ = boxes
    before = unnamed(box.widget)
    box.press("Generate")
    box.wait_for_another_text()
    after = unnamed(box.widget)
    assert before[0] == after[0] == []
    assert after[1] == before[1] + 9, "the field Token and eight alternatives"
    for name in ("length", "temperature", "top-k", "top-p", "repetition", "seed", "Token"):
        assert box.field(name).count() == 1, (
            "a slider's handle can be given no name, so a field stands beside it"
        )
