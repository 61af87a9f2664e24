"""Of every method: what its record says, and the table of its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.engine.inputs.shipped_configs import shipped_configs
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from site_pages.fields import FieldRow, flat_rows, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench import MethodRecord

OWN = ("baselines", "resdepth", "implicity", "pix2pix", "immpi", "diffrender", "fusion")
"""Plugins that have a page, in the order of the site."""


def records_of(plugin: str) -> list[MethodRecord]:
    """Return the records of the methods that a built-in plugin registers."""
    return [record for record in load_registry().methods if record.target.startswith(f"refbench_{plugin}.")]


def option_rows(record: MethodRecord) -> Iterator[FieldRow]:
    """Yield the configuration keys of a method."""
    if record.config is not None:
        yield from flat_rows(resolve(record.config))


def option_pages() -> dict[str, str]:
    """Return the options of every plugin's methods, one page each."""
    made = {}
    for plugin in OWN:
        parts = []
        for record in records_of(plugin):
            rows = list(option_rows(record))
            title = f"**{record.name}**\n\n" if plugin == "baselines" else ""
            parts.append(title + (table(rows) if rows else "No options.\n"))
        made[f"options-{plugin}.md"] = "\n".join(parts)
    return made


def record_pages() -> dict[str, str]:
    """Return what the records of every plugin's methods say, one page each."""
    return {f"record-{plugin}.md": "\n".join(_facts(plugin)) + "\n" for plugin in OWN}


def _facts(plugin: str) -> Iterator[str]:
    records = records_of(plugin)
    if len(records) > 1:
        yield from ("| method | summary | needs | fills NoData |", "|---|---|---|---|")
        for record in records:
            needs = ", ".join(need.value for need in record.needs)
            yield f"| `{record.name}` | {record.summary} | {needs} | {'yes' if record.fills else 'no'} |"
        return
    record = records[0]
    yield from ("| | |", "|---|---|")
    for name, text in _lines(record):
        if text:
            yield f"| {name} | {text} |"


def _lines(record: MethodRecord) -> Iterator[tuple[str, str]]:
    yield "name", f"`{record.name}`"
    yield "needs", ", ".join(need.value for need in record.needs)
    yield "takes where there", ", ".join(need.value for need in record.optional)
    yield "gives", ", ".join(gives.value for gives in record.gives)
    traits = {"is trained": record.trainable, "draws at random": record.stochastic, "fills NoData": record.fills}
    yield "traits", ", ".join(trait for trait, holds in traits.items() if holds)
    yield "install", ", ".join(f"`pip install 'refbench[{extra}]'`" for extra in record.extras)
    yield "built-in weights", ", ".join(f"`{name}`" for name in record.weights)
    yield "configurations", ", ".join(f"`{name}`" for name in shipped_configs(record))
    for tag, value in sorted(item for item in record.tags.items() if not item[0].startswith("check.")):
        yield tag.replace("_", " "), f"about {value} on one core, with the default configuration"
    yield "official code", record.origin
    yield "its licence", "none granted" if record.official_licence is None else record.official_licence
    yield "paper", record.paper
