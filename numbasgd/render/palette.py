"""The colours and markers of every picture: those of Okabe and Ito (2008), then olive and greys.

They can be told apart in print and without full colour vision.
"""

from __future__ import annotations

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
OLIVE, GREY, LIGHT_GREY = "#A08A00", "#777777", "#999999"

SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, OLIVE, GREY)  # of a picture's series, in this order
MARKERS = "osD^vPX*"  # of the same series
FASTER_TEXT, SLOWER_TEXT = "#08704A", "#A33414"  # of words that say so, on white
TEXT_SERIES = (BLUE, VERMILLION, GREEN, PURPLE)  # dark enough for small text in the series' colour


def series_colour(place: int) -> str:
    """The colour of the series at ``place``; colours repeat after the last."""
    return SERIES[place % len(SERIES)]


def series_marker(place: int) -> str:
    """The marker of the series at ``place``; the first 64 differ in their colour or in their marker."""
    return MARKERS[(place + place // len(SERIES)) % len(MARKERS)]
