"""How Sphinx makes pages of what is written: `make docs`.

The sources are the repository itself, so that links between pages, notebooks and files are the same on both sides.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # made.py

import made
from sphinx.application import Sphinx

import simkv

project = "simkv"
author = copyright = "the simkv authors"
version = release = simkv.__version__

default_role = "code"  # `this` in docstrings
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "traces/README.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]

nb_execution_mode = "off"  # the tests run them
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [made.RETURNS]
smartquotes = False  # `--option` keeps its dashes

html_theme = "furo"
html_title = f"simkv {release}"
html_copy_source = False
html_extra_path = ["site"]  # index.html at the top


def setup(app: Sphinx) -> None:
    """Let `made.py` write its parts."""
    app.connect("source-read", made.put_in)
    app.connect("autodoc-process-docstring", made.plain, priority=400)  # before napoleon reads them
