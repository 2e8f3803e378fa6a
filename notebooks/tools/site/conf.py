"""Sphinx's settings for the site. Everything that a page needs lies beside it: it opens offline."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

project = html_title = "Fine-tune GPT-2"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["files"]
suppress_warnings = ["mystnb.lexer"]

# --- lessons: shown as they are stored ---
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # else pages fetch widgets' code from elsewhere
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# --- the helpers: read without the libraries that they import ---
autodoc_mock_imports = [
    "accelerate", "datasets", "filelock", "huggingface_hub", "peft", "psutil", "pyarrow",
    "safetensors", "tokenizers", "torch", "tqdm", "transformers",
]  # fmt: skip
autodoc_member_order = "bysource"
add_module_names = False
viewcode_follow_imported_members = False  # else a decorator's library gets a page of source

# --- looks ---
html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses for files on disk
html_permalinks_icon = "#"
html_context = {"default_mode": "auto"}  # dark or light as the system is, until you choose
html_theme_options = {
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search field is in the sidebar
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def as_rst(app, what, name, obj, options, lines) -> None:
    """Docstrings have `names` between single signs, as Markdown does; Sphinx wants two."""
    text = re.sub(r"(?<!`)`\s*([^`]+?)\s*`(?!`)", r"``\1``", "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", as_rst)
