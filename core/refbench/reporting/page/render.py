"""The page as HTML: one file that opens from disk and loads nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from refbench.reporting.tables.as_html import html_table

if TYPE_CHECKING:
    from refbench.reporting.page.model import Page

HERE = Path(__file__).parent


def render(page: Page) -> str:
    """Return the page; everything that comes from names, files and logs is escaped."""
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_text("page.html"))
    return template.render(
        page=page,
        tables=[Markup(html_table(table)) for table in page.tables],  # html_table escapes
        plots=[(plot.title, Markup(plot.svg)) for plot in page.plots],  # plot escapes
        style=Markup(_text("style.css")),  # our own file
        script=Markup(_text("script.js")),  # our own file
        data=Markup(_json(page)),  # escaped for a script element
    )


def _json(page: Page) -> str:
    """Return what the script needs, safe inside a script element."""
    scenes = [
        {
            "name": scene.name,
            "base": scene.base,
            "across": scene.across,
            "down": scene.down,
            "surfaces": [
                {"name": s.name, "shade": s.shade, "error": s.error, "grid": s.grid, "caption": s.caption}
                for s in scene.surfaces
            ],
        }
        for scene in page.scenes
    ]
    text = json.dumps(scenes, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
