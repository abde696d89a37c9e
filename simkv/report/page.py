"""One HTML page for a folder of results: no network, no date, no machine; equal folders give equal bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from simkv.report import definitions
from simkv.report.reading import SavedRun, SavedSweep

_TEMPLATES = Path(__file__).with_name("templates")
_NAMED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page that is made elsewhere, such as the timeline.

    Attributes
    ----------
    name : unique in the page.
    caption : plain text below it.
    is_wide : it takes the whole width.
    arms : places of the arms that its colours mean, which its legend names.
    """

    name: str
    title: str
    body: Markup
    caption: str = ""
    is_wide: bool = False
    arms: tuple[int, ...] = ()


def page(saved: SavedRun | SavedSweep, played: Sequence[Section] = ()) -> str:
    """Return the page of a saved run or sweep.

    Parameters
    ----------
    played : parts that come from playing a replication again.

    Raises
    ------
    InputError : the folder lacks something, or holds what simkv does not write.
    """
    if isinstance(saved, SavedSweep):
        from simkv.report.page_sweep import context as of_sweep  # noqa: PLC0415 - one of the two is wanted

        return _render("sweep.html", of_sweep(saved))
    from simkv.report.page_run import context as of_run  # noqa: PLC0415

    return _render("run.html", of_run(saved, played))


def defined() -> list[tuple[str, list[tuple[str, Markup]]]]:
    """Return the definitions by title, names in them marked as such."""
    texts = definitions.texts()
    return [(title, [(name, marked(texts[name])) for name in names]) for title, names in definitions.SHOWN.items()]


def marked(text: str) -> Markup:
    """Return a text with what stands in backquotes as code.

    Examples
    --------
    >>> marked("`a` < b")
    Markup('<code>a</code> &lt; b')
    """
    return Markup(_NAMED.sub(r"<code>\1</code>", str(escape(text))))


def _render(template: str, context: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["file"] = lambda name: Markup((_TEMPLATES / name).read_text(encoding="utf-8"))
    return environment.get_template(template).render(**context, definitions=defined())
