"""What the lessons' plots show, for those who do not see them, by the id of the cell that draws.

Without a line here, a plot is described by the sentences below it in the lesson.
"""

PICTURES = {
    # 01
    "a0c1e002": (
        "Five bars: the words that the model thinks likeliest after the prompt, and their "
        "probabilities. The first bar is far longer than the others."
    ),
    # 02
    "a0020211": (
        "A histogram of the lengths of paragraphs in words, yours and WikiText-2's. That of "
        "the small encyclopedia is one narrow hump. That of WikiText-2 begins with a peak of "
        "very short ones, and goes on past 400 words."
    ),
    # 03
    "df3dffb4": (
        "Bars: the share of positions that no loss scores, for packing, and for articles and "
        "lines that are padded, with and without sorting. Packing's bar is hardly to be seen."
    ),
    # 04
    "a234ec07": (
        "A heat map: each row is a token that looks, each column a token it may look at. The "
        "upper right triangle is empty, since no token sees a later one. In the loaded model "
        "the squares below the diagonal are dark. In the fresh one each row is spread evenly."
    ),
    # 05
    "5c4ed01e": (
        "A line: the learning rate over 110 steps, as a share of its peak. It climbs from 0 "
        "to 1 in 10 steps, then falls straight to 0."
    ),
    "c5ae1b13": (
        "Training and validation loss over the steps. Training loss comes down in stairs, one "
        "an epoch. Validation loss falls as well, and then lies flat."
    ),
    # 06
    "33865f1c": (
        "Ten bars: the tokens likeliest to follow the prompt, and their probabilities. None "
        "reaches half."
    ),
    # 07
    "e7a00019": (
        "Bars: the perplexity of one model on one text, computed in seven ways. The scale "
        "goes up by tens, and the ways differ widely."
    ),
    "e7a0002a": "Eight bars: the mean loss in each eighth of the window. The first is the longest.",
    # 08
    "08a00046": (
        "A curve: perplexity on held-out entries over the number of entries trained on. It "
        "falls, and each doubling brings less."
    ),
}
