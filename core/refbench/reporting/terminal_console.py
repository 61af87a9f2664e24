"""The console of rich for text of others; apart from ``terminal``, so that light verbs need no rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment

from refbench.reporting.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class PlainConsole(Console):
    """A console of rich whose own sequences reach the terminal, and nobody else's."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, their text plain."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


def console(**settings: Any) -> Console:  # noqa: ANN401  # those of rich
    """Return a console for text of others; nothing in it is read as markup or coloured by its content."""
    return PlainConsole(highlight=False, markup=False, emoji=False, **settings)
