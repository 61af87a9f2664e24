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
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated/options-*", "generated/record-*"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Notebooks are text; building runs them, and a cell that raises ends the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
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
