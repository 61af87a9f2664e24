"""``refbench plugins``: who brings what, and why a plugin failed to load."""

from __future__ import annotations

import json
from textwrap import indent
from typing import TYPE_CHECKING

import click

from refbench.cli.columns import columns
from refbench.cli.options import json_option
from refbench.registry.registry import load_registry
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from refbench.registry.loader import Plugin


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the plugins; broken ones with their reason and the end of the traceback."""
    plugins = load_registry().plugins
    if as_json:
        echo(json.dumps([_as_dict(plugin) for plugin in plugins], indent=2))
        return
    header = ("NAME", "VERSION", "STATUS", "FROM", "OFFERS")
    rows = [
        (
            plugin.name,
            plugin.version or "-",
            "broken" if plugin.reason else "ok",
            plugin.distribution,
            "; ".join(f"{kind}: {', '.join(names)}" for kind, names in _offers(plugin).items()) or "-",
        )
        for plugin in plugins
    ]
    echo(columns(header, rows))
    for plugin in plugins:
        if plugin.reason:
            echo(f"\n{plugin.name} ({plugin.origin}): {plugin.reason}\n{indent(plugin.trace or '', '    ')}")


def _offers(plugin: Plugin) -> dict[str, list[str]]:
    return {kind: [record.name for record in records] for kind, records in plugin.records.items() if records}


def _as_dict(plugin: Plugin) -> dict[str, object]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "offers": _offers(plugin),
        "reason": plugin.reason,
        "trace": plugin.trace,
    }
