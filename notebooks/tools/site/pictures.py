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
    "c0020310": (
        "Four bars: the share of validation words that a count guesses right. Four words back "
        "guess least, then two, then one. All three together, the longest first, guess most."
    ),
    # 03
    "df3dffb4": (
        "Three bars: the share of positions that are computed but not scored. Packing's bar is "
        "hardly to be seen. Padded batches waste a third, and those that were sorted very little."
    ),
    # 04
    "a234ec07": (
        "A heat map: each row is a token that looks, each column a token it may look at. The "
        "upper right triangle is empty, since no token sees a later one. Most of the dark "
        "squares are just below the diagonal: each token looks at the one before it."
    ),
    # 05
    "5c4ed01e": (
        "A line: the learning rate over 110 steps, as a share of its peak. It climbs from 0 "
        "to 1 in 10 steps, then falls straight to 0."
    ),
    "c5ae1b13": (
        "Training and validation loss over the steps. Training loss comes down in stairs, one "
        "an epoch. Validation loss falls as well, and then rises a little."
    ),
    # 06
    "33865f1c": (
        "Ten bars: the tokens likeliest to follow the prompt, and their probabilities. None "
        "reaches half."
    ),
    # 07
    "e7a00017": (
        "Six bars: the perplexity of one model on one text, computed in six ways. They "
        "differ widely: the mean of the lines' means is the lowest, and per word the highest."
    ),
    # 08
    "08a00046": (
        "A curve: perplexity on held-out entries over the number of words trained on. It hardly "
        "falls at first, then more, and is still falling at the end."
    ),
    # 09
    "09a00071": (
        "Two curves: validation perplexity over the learning rate, for all weights and for LoRA "
        "of rank 8. Each is lowest at one of its middle rates: all weights at the lower rate of "
        "the two. They come a little lower than rank 8, and rise on both sides, as it does."
    ),
    # 10
    "10a00085": (
        "Five bars, one for each GPT-2, from the smallest to the largest: the GB of its weights, "
        "slopes, AdamW's means and one row, one after another. A line stands at nine tenths of "
        "a T4. The three smallest end well before it. The fourth crosses it with its row, and "
        "the largest already with its means."
    ),
}
