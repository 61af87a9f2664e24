"""Pages of the site that are made from the code: options, command line, metrics, hooks, records, files, API.

``write_all`` is what ``docs/conf.py`` calls before every build. Each page is a function that returns Markdown, so that
tests can ask a page whether it names a thing and says what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from site_pages.api import api_page
from site_pages.commands import cli_page
from site_pages.files import result_page, scene_page, suite_page
from site_pages.methods import option_pages, record_pages
from site_pages.metrics import metrics_page
from site_pages.plugins import hooks_page, records_page

if TYPE_CHECKING:
    from pathlib import Path


def pages() -> dict[str, str]:
    """Return the Markdown of every generated page by its file's name."""
    made = {
        "api.md": api_page(),
        "cli.md": cli_page(),
        "hooks.md": hooks_page(),
        "metrics.md": metrics_page(),
        "records.md": records_page(),
        "result.md": result_page(),
        "scene.md": scene_page(),
        "suite.md": suite_page(),
    }
    return made | option_pages() | record_pages()


def write_all(folder: Path) -> None:
    """Write every page that is new or has changed; Sphinx reads the others from its cache."""
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
