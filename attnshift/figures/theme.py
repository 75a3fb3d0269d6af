"""The look of the house: one colour and one marker per meaning, one plotly template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

_MUTED = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499")

RUNS: Final = tuple(f"run {number}" for number in range(len(_MUTED)))
"""Meanings for runs and arms beside each other: which is which the legend says."""

COLOURS: Final = {
    "context": "#0072B2",
    "parametric": "#D55E00",
    "question": "#CC79A7",
    "critical": "#009E73",
    "non_critical": "#E69F00",
    "no_context": "#56B4E9",
    "both": "#F0E442",
    "neither": "#C9C9C9",
    "neutral": "#333333",
    "faint": "#8C8C8C",
    **dict(zip(RUNS, _MUTED, strict=True)),
}
"""Colour by meaning, the same in every figure: Okabe & Ito's palette, and Tol's muted one for runs; told apart with any
colour vision."""

SYMBOLS: Final = {"parametric": "square", "non_critical": "square", "question": "diamond", "no_context": "diamond"}
"""Marker by meaning, circle for all others, so that a figure survives a black-and-white printer."""

REFERENCE: Final = {"color": COLOURS["faint"], "width": 1.2, "dash": "dash"}
"""The line to compare curves with."""

LEAN: Final = ((0.0, "#D55E00"), (0.25, "#EBAF80"), (0.5, "#F7F7F7"), (0.75, "#80B8D8"), (1.0, "#0072B2"))
"""Colours of a number with a sign, from memory's colour over near white (0) to the context's."""

AMOUNT: Final = ((0.0, "#F7FBFF"), (0.25, "#BFDCEC"), (0.5, "#66AAD2"), (0.75, "#0072B2"), (1.0, "#023858"))
"""Colours of an amount, from none to much: one hue, ever darker, so that grey prints keep the order."""


@dataclass(frozen=True)
class Size:
    """What a figure is made for."""

    width: int
    """pixels, 96 to the inch: a pdf or svg is exactly so wide on paper"""
    scale: float
    """of letters, lines and heights; at 1 letters have 13 pixels (9.75 pt)"""
    titled: bool
    """whether the title is drawn; in a paper the caption stands for it"""
    sides: bool = True
    """whether there is room for words beside the panels; the caption has them too"""


SIZES: Final = {"screen": Size(700, 1.0, True), "two": Size(648, 0.86, False), "one": Size(312, 0.8, False, False)}
"""For a screen; 6.75 inches, over two columns; 3.25 inches, one column. Letters have 7.5 pt or more, small notes 6."""

WIDTH: Final = SIZES["screen"].width
"""Pixels that a figure is laid out for before it is fitted to another size."""

LETTERS: Final = 13
"""Pixels, at scale 1."""

_AXIS: Final = {"showline": True, "linecolor": "#555555", "gridcolor": "#E8E8E8", "zeroline": False} | {
    "ticks": "outside", "ticklen": 4, "tickcolor": "#555555", "title": {"font": {"size": 14}, "standoff": 8},
    "automargin": True,
}  # fmt: skip

LEGEND_GAP: Final = 2
"""Pixels between the rows of a legend that wraps."""

LEGEND: Final = {"orientation": "h", "x": 0, "xanchor": "left", "yanchor": "bottom"} | {
    "font": {"size": 13}, "tracegroupgap": LEGEND_GAP,
}  # fmt: skip

TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Helvetica, Arial, Liberation Sans, sans-serif", "size": LETTERS, "color": "#222222"},
        "title": {"x": 0, "xref": "paper", "y": 1, "yanchor": "top", "pad": {"t": 28}, "font": {"size": 17}},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": list(COLOURS.values())[:6],
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "coloraxis": {
            "colorbar": {"outlinewidth": 0, "thickness": 12, "title": {"side": "right", "font": {"size": 13}}}
        },
        "legend": LEGEND,
    }
)
"""White ground, light grid, Helvetica; legends in a row above the curves."""


_UNDER_TITLE: Final = '<br><span style="font-size:12.5px;color:#666666">'


def titled(title: str, subtitle: str) -> str:
    """A title with a smaller, grey line beneath it."""
    return f"{title}{_UNDER_TITLE}{subtitle}</span>"


def title_parts(text: str) -> tuple[str, str]:
    """The title and the line beneath it, as `titled` put them together; a title alone has none."""
    title, _, subtitle = text.partition(_UNDER_TITLE)
    return title, subtitle.removesuffix("</span>")


def tint(colour: str) -> str:
    """A colour for a band: light enough that crossing bands and the grid stay visible."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"
