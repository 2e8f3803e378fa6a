"""What the Colab editions say differently from the lessons; `editions` applies it.

EDITS: for a lesson, pairs of the lesson's words and the edition's, ` ... ` standing for any text between. DRIVE: for a
lesson, the place behind which two cells come that keep the model on Google Drive, their prose and their code.
"""

EDITS = {
    "01": [
        ("- install the series, and read a verdict", "- read a verdict"),
        (
            "- say which of two *profiles* runs on your machine, and choose the other;",
            "- say which of two *profiles* runs here, and with which settings;",
        ),
        ("let a small model write", "let a model write"),
        ("**You need** Python 3.11 ... **Time:**", "**You need** this page. **Time:**"),
        ("and with 4,273,664: the number", "and with 124,439,808: the number"),
        (
            "## Install\n ... ## Your first cell",
            """\
## Nothing to install

Colab brings all the packages. (The repository's README says how to install the series on a computer of your own.)

## Your first cell""",
        ),
        (
            "**Kernel > Restart Kernel…** (VS Code: **Restart**) makes",
            "**Runtime > Restart session** makes",
        ),
        ("or click **+** in the toolbar", "or click **+ Code** in the toolbar"),
        (
            "*If it says `ModuleNotFoundError`* ... (VS Code: **Select Kernel**).",
            "*If it says `No module named 'helpers'`*, run the folded cells above first.",
        ),
        (
            "So `requirements.txt` lists exact\nversions.",
            "So the next cell\nlists those that this page was made for: Colab's of the summer of 2026.",
        ),
        (
            'listed = Path("../requirements.txt") ... flags=re.MULTILINE))',
            """\
needed = {"torch": "2.11.0", "transformers": "5.15.0", "datasets": "4.0.0", "accelerate": "1.14.0",
          "ipywidgets": "7.7.1", "matplotlib": "3.10.0"}""",
        ),
        (
            "5.23.1 will do where 5.23.0 is listed. The last row is ... browser.",
            "5.15.1 will do where 5.15.0 is listed.",
        ),
        ('"install a newer Python, make `.venv` anew"', '"nothing: Colab brings it"'),
        ('{**needed, "jupyterlab_widgets": "3"}', "needed"),
        (
            '"`%pip install -r ../requirements.txt` in a cell, restart the kernel"',
            '"**Runtime > Disconnect and delete runtime**, run all again"',
        ),
        (
            "come back if a lesson fails. The next cell ... in a terminal).",
            """\
Colab renews its packages now and then. Put no others in
their place: they are made to fit each other. The next cell insists on what must hold.""",
        ),
        (
            'missing = [package for package in needed if package != "jupyterlab" and',
            "missing = [package for package in needed if",
        ),
        (
            '"Python is too old: install 3.11 or newer, and make .venv anew."',
            '"Python is too old."',
        ),
        (
            "Run: %pip install -r ../requirements.txt",
            "Take a new runtime: Runtime > Disconnect and delete runtime",
        ),
        (
            "Look at both, `gpt2` as it is without a GPU.",
            "Only `gpt2` travels with this page.\nLook at it twice: as it runs here, and as it is without a GPU.",
        ),
        ('tiny = profiles.choose("tiny")\n', ""),
        ("{getattr(tiny, setting)!s:<22}", "{getattr(profile, setting)!s:<42}"),
        (
            "**Which one runs here?** ... ### An error, on purpose",
            """\
**Which one runs here?** The first cell said so, with its reason. On a computer of your own, the environment variable
`GPT2_TUTORIAL_PROFILE` chooses. Left alone, it means `auto`: `gpt2` where its files are on the machine already or the
Hugging Face Hub answers (the site that models and datasets come from), else `tiny`. Here `auto` means `gpt2`.

### An error, on purpose""",
        ),
        (
            "Now mend it, by taking one of the three:",
            "Now mend it, by taking the one that travels with this page:",
        ),
        ('print(profiles.choose("tiny"))', 'print(profiles.choose("gpt2"))'),
        (
            "the one that holds `notebooks/`, unless you set `GPT2_TUTORIAL_HOME`, as\nyou set the profile.",
            "`/content`, where this page works. It is\ngone when the session ends (lesson 05 keeps the model for you).",
        ),
        (
            '"see *Install* (the CUDA build), or update the driver"',
            '"**Runtime > Change runtime type**: T4 GPU"',
        ),
        (
            "of memory are free: close other programs, or take tiny.",
            "of memory are free: end other sessions.",
        ),
        (
            "of disk are free: make room, or take tiny.",
            "of disk are free: delete files, or take a new runtime.",
        ),
        (
            "If you still do, the browser's half is missing: the table near the end says what to do.",
            "If you still do, reload the page.",
        ),
        (
            "With either profile, the model ... expect it to sound like one.",
            """\
The model that writes here is GPT-2 itself, the smallest of four that OpenAI published: half a gigabyte, which Colab
fetches within seconds. It has read millions of web pages.""",
        ),
        (
            'loading.load_pretrained(profiles.BUNDLED / "model")\nassert model.num_parameters() == PARAMETERS["tiny"]',
            "loading.load_pretrained(profile.model)  # on the CPU",
        ),
        ('\nif prompt == "The captain shook his": ... fourth row below 15%")', ""),
        (
            "In the first row, `' head'` with ... below 15 per cent.",
            """\
In the first row, a favourite far ahead: what a captain shakes is hardly in doubt. Where
nearly anything can follow, even the favourite's share is small.""",
        ),
        (
            "Greedy text soon goes round in circles, as here.",
            "Greedy text soon goes round in circles.",
        ),
        (
            "that is what a few million parameters can do. It speaks like its books,",
            "that is what GPT-2's size can do. It speaks like its web pages,",
        ),
        (
            "| *Error displaying widget* ... | *could not be fetched",
            """\
| text where a widget should be | reload the page, and run it from the top |
| `No module named 'helpers'` | run the folded cells near the top |
| *could not be fetched""",
        ),
        ("try later, or take `tiny` |", "try later |"),
        (
            "**Kernel > Shut Down All Kernels…** ... as you set the profile |",
            "**Runtime > Manage sessions** ends other pages; then **Runtime > Restart session and run all** |",
        ),
        ("something that no old novel contains, such as `", "`"),
        (", and watch how the sampled texts steer back to the model's own world.", "."),
    ],
    "02": [("a working installation (lesson 01).", "this page.")],
    "03": [("the packages from lesson 01.", "this page.")],
    "04": [("**You need** lesson 01's installation.", "**You need** this page.")],
    "05": [
        (
            "**You need** lesson 01's installation and, for `gpt2`, a connection the first time.",
            "**You need** this page.",
        )
    ],
    "06": [
        (
            "**You need** the helpers beside this notebook and, best of all,",
            "**You need**, best of all,",
        ),
        ("![The prompt box, ... and no box?", "No box?"),  # pictures stay in the repository
    ],
}

DRIVE = {
    "05": (
        "AutoModelForCausalLM.from_pretrained(loading.model_folder())",
        """\
## Keep it

A Colab session takes its files along when it ends, and lesson 06 has a machine of its own. To keep the model, tick the
box (or write `True`) and run the cell: it asks for your permission, and copies the folder to your Google Drive, half a
gigabyte. Lesson 06 fetches it there.\
""",
        """\
#@title Copy the model to your Google Drive
import shutil

KEEP = False  #@param {type: "boolean"}
if KEEP:
    from google.colab import drive

    drive.mount("/content/drive")
    shutil.copytree(loading.model_folder(), "/content/drive/MyDrive/fine_tuned_gpt2", dirs_exist_ok=True)
    drive.flush_and_unmount()  # waits until all of it has arrived
print("The model is on your Drive." if KEEP else "The model is only in this session.")\
""",
    ),
    "06": (
        "profile = start()",
        """\
On Colab each page has a machine of its own, so the model that you trained on lesson 05's page is not here: if you kept
it on your Google Drive, tick the box (or write `True`) and run the cell, which asks for your permission; if not, train
again on that page, in a few minutes on a GPU, and keep it. Without it, GPT-2 writes as it was published.\
""",
        """\
#@title Fetch the model of lesson 05 from your Google Drive
import shutil
from pathlib import Path

from helpers.loading import model_folder

FETCH = False  #@param {type: "boolean"}
if FETCH:
    from google.colab import drive

    drive.mount("/content/drive")
    kept = Path("/content/drive/MyDrive/fine_tuned_gpt2")
    assert kept.is_dir(), "There is no folder fine_tuned_gpt2 on your Drive: run the last part of lesson 05 first."
    shutil.copytree(kept, model_folder(), dirs_exist_ok=True)
print("The model of lesson 05 is here." if model_folder().is_dir() else "No model of lesson 05 is here.")\
""",
    ),
}
