"""Configuration of the site: ``sphinx-build -W -b html docs docs/_build/html`` builds it, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

import refbench

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from site_pages import write_all  # noqa: E402  # found through the line above

project = "refbench"
author = "The refbench developers"
copyright = author  # Sphinx's name
release = refbench.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "generated/options-*", "generated/record-*"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # a page of the reference may begin at its second level
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
html_theme = "furo"
html_title = "refbench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

write_all(HERE / "generated")
