"""The command line, verb by verb, as click knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from refbench.cli.main import cli
from site_pages.fields import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODES = """
| code | meaning |
|---|---|
| 0 | ok |
| 1 | failed: also a timeout, out of memory, a crash |
| 2 | bad input; nothing was written |
| 3 | unsupported or skipped, with the reason |
| 130 | interrupted |
"""


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield the words, command and context of ``refbench`` and all that stands below it."""
    yield from _below("refbench", cli, None)


def _below(words: str, command: click.Command, parent: click.Context | None) -> Iterator:  # type: ignore[type-arg]
    context = click.Context(command, info_name=words.rpartition(" ")[2], parent=parent)
    yield words, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None  # the group has just named it
            yield from _below(f"{words} {name}", below, context)


def cli_page() -> str:
    """Return the page of the command line."""
    lines = ["# Command line", "", "Exit codes:", EXIT_CODES]
    for words, command, context in commands():
        lines += [f"## {words}", "", _paragraphs(command.help or ""), ""]
        lines += ["```text", *(_usage(command, context).splitlines()), "```", ""]
        rows = list(option_lines(command, context))
        if rows:
            lines += [
                "| option | meaning |",
                "|---|---|",
                *(f"| {entry(name)} | {entry(text)} |" for name, text in rows),
            ]
        lines.append("")
    return "\n".join(lines)


def option_lines(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the spelling of every option and what it means, with its default."""
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Argument):  # the usage and the text name it
            continue
        record = parameter.get_help_record(context)
        if record is not None:
            yield f"`{record[0]}`", " ".join(record[1].split())


def _paragraphs(text: str) -> str:
    """Return a help text with its paragraphs, without click's wrapping."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\f")[0].replace("\b", "").split("\n\n"))


def _usage(command: click.Command, context: click.Context) -> str:
    return command.get_usage(context).removeprefix("Usage: ")
