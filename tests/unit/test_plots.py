"""What the plots say in HTML, and how curves are told apart."""

import re

import matplotlib.pyplot as plt

from helpers.plots import coloured, rate_curves


def test_a_coloured_text_is_the_text_with_its_values_in_colour_line_and_words():
    drawn = coloured(["<b>", " sea", "\n", "x", "y"], [2.4, -1.6, 0.2, 90.0, -90.0])
    spans = re.findall(r'<span title="(.+?)" style="(.+?)">(.*?)</span>', drawn)
    assert [text for _, _, text in spans] == ["&lt;b&gt;", " sea", "⏎<br>", "x", "y"]
    assert [title for title, _, _ in spans] == ["+2", "-2", "+0", "+90", "-90"]
    assert ["underline" in style for _, style, _ in spans] == [False, True, False, False, True]
    colours = [re.search("background: (#......)", style)[1] for _, style, _ in spans]
    assert colours[3:] == ["#56b4e9", "#e69f00"] and len(set(colours)) == 5


def test_four_ways_of_training_are_told_apart_without_colours_too(monkeypatch):
    monkeypatch.setattr("helpers.plots.show", lambda: None)
    rate_curves({name: {1e-3: 40.0, 3e-3: 30.0} for name in ("all weights", "1", "8", "64")})
    [axes] = plt.gcf().axes
    lines = axes.get_lines()
    assert len({line.get_color() for line in lines}) == 4
    assert len({line.get_marker() for line in lines}) == 4
    assert [text.get_text() for text in axes.get_legend().get_texts()][0] == "all weights"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    axes.figure.draw_without_rendering()
    labels = [one.get_text() for axis in (axes.xaxis, axes.yaxis) for which in ("major", "minor")
              for one in axis.get_ticklabels(which=which)]  # fmt: skip
    assert {"0.001", "30", "40"} <= {*labels}
    assert not any("10^" in label for label in labels), "6 x 10^1 is 60"
    plt.close()
