"""The prompt box (lesson 06): type, generate, look inside, branch off, go back.

A thread computes, so that Stop and the rest stay alive; on Colab, which does not show what a thread does, the click
itself computes, and the notebook's ■ stops it. All text is escaped: what stands in a prompt or comes from a model is
text, never markup.
"""

import html
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace

import ipywidgets

from helpers.errors import TutorialError
from helpers.generation import ALTERNATIVES, Sampling, Token, encode_prompt, instead, room, watch
from helpers.plots import shaded_text
from helpers.profiles import home
from helpers.widgets import show_widget, typed

PAUSE = 0.3  # seconds after a text in which a click is the second one of a double click
SHOWN = 2000  # characters of a prompt; of a longer one the end
DIALS = {  # the fields of Sampling, with what moves them
    "max_new_tokens": (ipywidgets.IntSlider(min=1, max=300), "length", "how many tokens to write at most"),
}
