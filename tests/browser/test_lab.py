"""The lessons in JupyterLab, in a real browser, as a learner opens them: Run All, look, type, click.

Screenshots go to the folder named by `SCREENSHOTS`, where it is set.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

if not CHROMIUM and not os.environ.get("CI"):  # on CI a missing browser is a failure
    pytest.skip("Debian's Chromium is not installed: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab over a copy of the lessons and helpers; its address."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "helpers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copy(ROOT / "requirements.txt", folder)  # lesson 01 reads it
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
               "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
               "--LabApp.expose_app_in_browser=True",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=1)
            break
        except OSError:
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.25)
    yield address
    server.terminate()
    server.wait(20)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI must install Chromium: see .ci/run"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def open_lesson(page, lab, name):
    page.goto(f"{lab}/lab/tree/notebooks/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget?.context?.sessionContext?.session?.kernel?.status === 'idle'"
    )


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
            return done || document.querySelector('.jp-Notebook [data-mime-type="application/vnd.jupyter.error"]')
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
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png")


@pytest.mark.parametrize("name", LESSONS)
def test_run_all(page, lab, name):
    open_lesson(page, lab, name)
    if name.startswith("05"):
        watch_the_live_plot(page)
    run_all(page, 400)
    found = outputs(page)
    assert found, "nothing ran"
    assert not [output for output in found if output["output_type"] == "error"]
    assert not [output for output in found if output.get("name") == "stderr"]
    assert page.locator(".jp-OutputArea", has_text="Error displaying widget").count() == 0
    assert page.locator(".jp-Dialog").count() == 0
    picture(page, name.removesuffix(".ipynb"))
    if name.startswith("02"):
        browse_the_articles(page)
    if name.startswith("03"):
        explore_tokens(page)
    if name.startswith("05"):
        assert page.evaluate("window.drawings.size") >= 3, "the live plot changed while the training ran"
    if name.startswith("06"):
        move_a_slider(page)
        play_with_the_prompt_box(page)


def watch_the_live_plot(page):
    """Collects every different picture of the loss curves that the page shows, from now on."""
    page.evaluate(
        """() => { window.drawings = new Set()
            setInterval(() => document.querySelectorAll('img[alt="loss curves"]').forEach(
                image => window.drawings.add(image.src)), 100) }"""
    )


def widget_with(page, control):
    """The box of widgets that holds a control, scrolled into view, and the part of it that shows HTML."""
    box = page.locator(".jp-OutputArea .widget-vbox", has=page.locator(control)).first
    box.scroll_into_view_if_needed()
    return box, box.locator(".widget-html-content").last


def wait_for_change(page, shown, before):
    page.wait_for_function("([node, old]) => node.innerHTML !== old", arg=[shown.element_handle(), before])
    return shown.inner_html()


def browse_the_articles(page):
    box, shown = widget_with(page, "input[type=text]")
    before = shown.inner_html()
    field = box.locator("input[type=text]")
    field.fill("Volcano")
    field.press("Enter")
    marked = wait_for_change(page, shown, before)
    assert "Volcano" in shown.inner_text() and "@-@" not in shown.inner_text()
    box.locator("input[type=checkbox]").focus()
    page.keyboard.press("Space")
    wait_for_change(page, shown, marked)
    assert "@-@" in shown.inner_text(), "the marks are back"
    picture(page, "article_browser")


def explore_tokens(page):
    box, shown = widget_with(page, "textarea")
    before = shown.inner_html()
    box.locator("textarea").fill("<b>café</b> 🙂")
    wait_for_change(page, shown, before)
    assert "<" in shown.inner_text() and shown.locator("b").count() == 0, "markup is shown as text"
    assert "tokens" in shown.inner_text()
    picture(page, "token_explorer")


def move_a_slider(page):
    box, shown = widget_with(page, ".widget-slider")
    before = shown.inner_html()
    handle = box.locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    wait_for_change(page, shown, before)
    picture(page, "sampling_explorer")


def play_with_the_prompt_box(page):
    widget, text = widget_with(page, "button:has-text('Regenerate')")
    box = widget.locator("textarea")

    def wait_for_another(before):
        page.wait_for_function(
            "([node, old]) => node.innerText.trim() && node.innerText !== old", arg=[text.element_handle(), before]
        )
        page.wait_for_function("() => [...document.querySelectorAll('button.jupyter-button')].every(b => !b.disabled)")
        return text.inner_text()

    box.fill(" = Bridge = ")
    page.get_by_role("button", name="Generate", exact=True).click()
    first = wait_for_another(text.inner_text())
    assert "= Bridge =" in first and len(first) > 40
    picture(page, "prompt_box")
    page.get_by_role("button", name="Regenerate", exact=True).click()
    second = wait_for_another(first)
    assert "= Bridge =" in second
    box.fill("<img src=x onerror=alert(1)> The castle & the <b>river</b>")
    page.get_by_role("button", name="Generate", exact=True).click()
    third = wait_for_another(second)
    assert "<img src=x onerror=alert(1)> The castle & the <b>river</b>" in third, "markup is shown as text"
    box.fill("   ")
    page.get_by_role("button", name="Generate", exact=True).click()
    assert "The prompt is empty" in wait_for_another(third)
