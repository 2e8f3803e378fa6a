"""What the plots say in HTML."""

import re

from helpers.plots import coloured


def test_a_coloured_text_is_the_text_with_its_values_in_colour_line_and_words():
    drawn = coloured(["<b>", " sea", "\n", "x", "y"], [2.4, -1.6, 0.2, 90.0, -90.0])
    spans = re.findall(r'<span title="(.+?)" style="(.+?)">(.*?)</span>', drawn)
    assert [text for _, _, text in spans] == ["&lt;b&gt;", " sea", "⏎<br>", "x", "y"]
    assert [title for title, _, _ in spans] == ["+2", "-2", "+0", "+4", "-4"]
    assert ["underline" in style for _, style, _ in spans] == [False, True, False, False, True]
    colours = [re.search("background: (#......)", style)[1] for _, style, _ in spans]
    assert colours[3:] == ["#56b4e9", "#e69f00"] and len(set(colours)) == 5
