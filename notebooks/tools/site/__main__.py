"""Builds the site: `python -m notebooks.tools.site [FOLDER]`, by default into runs/site.

It needs the packages in the requirements.txt beside this file, and none of the series' own: nothing
is executed. `make site` installs them in an environment of their own. A link that leads nowhere,
and whatever else Sphinx warns of, is an error.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from helpers import print_utf8
from notebooks.tools.lessons import ROOT
from notebooks.tools.site.pages import write_pages

HERE = Path(__file__).resolve().parent


def build(folder: Path) -> int:
    """Build the site in `folder`, in place of what was there; gives Sphinx's exit code.

    Where Sphinx finds something wrong, `folder` stays as it was.
    """
    with tempfile.TemporaryDirectory() as scratch:  # myst-nb writes beside the pages, too
        source, pages = Path(scratch, "source"), Path(scratch, "pages")
        write_pages(source)
        strict = ["-W", "--keep-going", "-q"]
        paths = ["-c", HERE, "-d", Path(scratch, "doctrees"), source, pages]
        code = sphinx([*strict, "-b", "html", *map(str, paths)])
        if not code:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(pages, folder, ignore=shutil.ignore_patterns("*macros.html"))
    return code


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser("python -m notebooks.tools.site", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs" / "site")
    folder = parser.parse_args().folder
    code = build(folder)
    if not code:
        print(f"The site is in {folder}: open {folder / 'index.html'} in a browser.")
    return code


if __name__ == "__main__":
    print_utf8()
    sys.exit(main())
