"""A Matplotlib figure as a part of an HTML page: it scales, follows the page's colours, and has no ids of its own."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from simkv.report.figures import STYLE

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_USED = re.compile(r"url\(#([^)]+)\)")
_DIGITS = re.compile(r"-?\d+\.\d{3,}")
_ARM = re.compile(r"arm-(\d+)")

#: Colours that mean paper and ink, and the page's names for them: they change in dark mode, those of arms do not.
INKS = {
    "#000000": "--ink",
    "#7a7a7a": "--grey",
    "#404040": "--soft",
    "#222222": "--soft",
    "#333333": "--edge",
    "#e4e4e4": "--grid",
    "#ffffff": "--paper",
}

for _prefix, _uri in (("", _SVG), ("xlink", _XLINK)):
    ET.register_namespace(_prefix, _uri)


def inline(figure: Figure, name: str, told: str, *, own_paper: bool = False) -> Markup:
    """Return the figure as an SVG element for a page.

    Groups called `arm-0`, `arm-1`, ... become `data-arm="0"`, ..., which the page's filter shows and hides.

    Parameters
    ----------
    name : of the figure, unique in the page: keeps what its parts are called apart from those of others.
    told : the figure in words, for who cannot see it.
    own_paper : its colours are those of ink on white paper, which it brings along.

    Examples
    --------
    >>> inline(Figure(figsize=(1, 1)), "empty", "nothing")[:52]
    Markup('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0')
    """
    file = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ET.fromstring(file.getvalue())
    _strip(root)
    _rename(root, name, {} if own_paper else INKS)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"class": "plot paper" if own_paper else "plot", "role": "img", "aria-label": told}
    return Markup(ET.tostring(root, encoding="unicode"))


def _strip(root: ET.Element) -> None:
    """Remove metadata, and style rules that would hold for the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)


def _rename(root: ET.Element, name: str, inks: dict[str, str]) -> None:
    """Keep the ids that something refers to, under names of the figure's own; shorten numbers; name the inks."""
    used = {link.removeprefix("#") for each in root.iter() if (link := each.get(f"{{{_XLINK}}}href"))}
    used |= {found for each in root.iter() for value in each.attrib.values() for found in _USED.findall(value)}
    short = {old: f"{name}-{number}" for number, old in enumerate(sorted(used))}
    for each in root.iter():
        own = each.attrib.pop("id", "")
        if own in short:
            each.set("id", short[own])
        elif arm := _ARM.fullmatch(own):
            each.set("data-arm", arm[1])
        for key, value in each.attrib.items():
            each.set(key, _renamed(key, value, short, inks))


def _renamed(key: str, value: str, short: dict[str, str], inks: dict[str, str]) -> str:
    if key == f"{{{_XLINK}}}href":
        return "#" + short[value.removeprefix("#")]
    value = _USED.sub(lambda found: f"url(#{short[found[1]]})", value)
    if key in ("d", "x", "y", "transform", "points", "width", "height"):
        return _DIGITS.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    if key == "style":
        value = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)
        return re.sub(r"#[0-9a-f]{6}", lambda found: f"var({inks[found[0]]})" if found[0] in inks else found[0], value)
    return value
