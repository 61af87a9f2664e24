"""Options that take one value are given once: which of two would count is not for refbench to choose."""

from __future__ import annotations

from collections import Counter

import click


def refuse_repeated(ctx: click.Context, name: str | None, command: click.Command, args: list[str]) -> None:
    """Refuse arguments of a verb that give an option with a single value more than once.

    Parameters
    ----------
    ctx
        The context of the group that holds the verb.
    name
        The verb as it was typed.
    command
        The verb; the verbs inside of a group are looked at, too.
    args
        What follows it.

    Raises
    ------
    click.UsageError
        The first repeated option; or what click itself refuses in ``args``.
    """
    own = command.context_class(command, info_name=name, parent=ctx)
    _, rest, order = command.make_parser(own).parse_args(list(args))
    for parameter, times in Counter(order).items():
        if times > 1 and isinstance(parameter, click.Option) and not (parameter.multiple or parameter.is_flag):
            if parameter.count:
                continue
            longest = max(parameter.opts, key=len)
            often = "twice" if times == 2 else f"{times} times"
            raise click.UsageError(f"{longest} is given {often}; give it once.", own)
    if isinstance(command, click.Group) and rest and (inner := command.get_command(own, rest[0])) is not None:
        refuse_repeated(own, rest[0], inner, rest[1:])
