"""The command ``refbench``: finds the verb, imports its module alone, turns errors into sentences and exit codes."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

import click

from refbench import __version__
from refbench.cli.repeated import refuse_repeated
from refbench.cli.verbosity import set_verbosity
from refbench.contracts.errors import InputError, RefbenchError, SkippedError, UnsupportedError
from refbench.registry import loader
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.reporting.terminal import echo, never_refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

F = TypeVar("F", bound="Callable[..., Any]")

DEBUG_VARIABLE = "REFBENCH_DEBUG"

VERBS = {
    "run": "Refine a scene with a method and score the result.",
    "bench": "Run a suite of methods, scenes and seeds.",
    "shard": "Run one share of a suite's jobs, for job arrays.",
    "merge": "Join the shards of a sweep, or the regions of a run.",
    "report": "Write the page of a sweep or a run.",
    "table": "Print the tables of a sweep.",
    "compare": "Compare two sweeps or runs: what changed beyond noise.",
    "train": "Train a method on scenes.",
    "evaluate": "Score a DSM against a reference.",
    "city": "Make a procedural city scene with its own reference.",
    "validate": "Check a result or a sweep.",
    "methods": "List the methods.",
    "plugins": "List the plugins, broken ones with their reason.",
    "info": "Show everything about a method.",
    "new-method": "Write a method plugin to begin with.",
    "new-importer": "Write a plugin that opens foreign folders.",
    "new-assessor": "Write a plugin that looks at a DSM in its own way.",
    "check": "Check that a method keeps to its contract.",
    "doctor": "Check packages, GPU, system libraries and folders.",
    "import-weights": "Turn official weights into a weights folder.",
    "scene": "Write scene files; convert scenes to the layouts of other systems.",
}
"""Verb -> one line of help. A verb's module is ``refbench.cli.<verb>`` with its click command as ``command``."""


_BAD_PATHS = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.EACCES})
"""What is wrong with a path that the user gave; everything else is a failure of the machine."""
PATH_SHOWN = 200


class LazyGroup(click.Group):
    """A group that imports a verb's module only when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return refbench's verbs, then those of plugins."""
        del ctx
        return [*VERBS, *(verb.name for verb in load_registry().verbs if verb.name not in VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb; None where there is none of that name."""
        del ctx
        if cmd_name in VERBS:
            command: click.Command = importlib.import_module(f"{__package__}.{cmd_name.replace('-', '_')}").command
            return command
        if cmd_name in load_registry().verbs:
            command = resolve(load_registry().verbs.get(cmd_name).target)
            return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one ends with near misses, an option given twice with a sentence."""
        if not ctx.resilient_parsing:  # the shell completes a line
            warn_of_broken_plugins()
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            near = difflib.get_close_matches(args[0], names, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "refbench --help lists them."
            ctx.fail(f"There is no verb {args[0]!r}; {hint}")
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            refuse_repeated(ctx, name, command, rest)
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs from the table, importing none of them."""
        del ctx
        warn_of_broken_plugins()
        verbs = dict(VERBS) | {verb.name: verb.summary for verb in load_registry().verbs if verb.name not in VERBS}
        with formatter.section("Verbs"):
            formatter.write_dl(list(verbs.items()))
        with formatter.section("Completion of verbs, options and names"):
            from refbench.cli.completion import INSTALL

            formatter.write_dl(list(INSTALL.items()))


def _add_plugin(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    del ctx, param
    # Through the environment, so that the processes of run jobs see the same plugins.
    if value:
        present = os.environ.get(loader.FILES_VARIABLE, "")
        os.environ[loader.FILES_VARIABLE] = os.pathsep.join(
            [*([present] if present else []), *map(os.path.abspath, value)]
        )


def _switch_on(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    del ctx
    if value:
        variables = {"no_third_party": loader.NO_THIRD_PARTY_VARIABLE, "strict_plugins": loader.STRICT_VARIABLE}
        os.environ[variables[str(param.name)]] = "1"


def _verbose(ctx: click.Context, param: click.Parameter, value: int) -> None:
    del ctx, param
    if value:
        set_verbosity(value)


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    del ctx, param
    if value:
        set_verbosity(-1)


def _option(name: str, text: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401  # settings of click
    """Return an option that acts at once: plugins are loaded for ``--help`` too."""
    return click.option(name, expose_value=False, is_eager=True, help=text, **settings)


@click.group(
    cls=LazyGroup, subcommand_metavar="VERB [ARGS]...", context_settings={"help_option_names": ["-h", "--help"]}
)
@_option("--plugin", "Load an unpackaged plugin file; repeatable.", multiple=True, metavar="FILE", callback=_add_plugin)
@_option("--no-third-party", "Load no plugins but refbench's own.", is_flag=True, callback=_switch_on)
@_option("--strict-plugins", "Stop at the first broken plugin.", is_flag=True, callback=_switch_on)
@click.option("-v", "--verbose", count=True, expose_value=False, callback=_verbose, help="Tell more; -vv everything.")
@click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="Tell errors only.")
@click.version_option(__version__, prog_name="refbench")
def cli() -> None:
    """Refine stereo DSMs with interchangeable methods and compare them on the same ground."""


def warn_of_broken_plugins() -> None:
    """Print one line on stderr for every plugin that failed to load."""
    for plugin in load_registry().broken:
        echo(f"Warning: plugin {plugin.name} ({plugin.origin}) failed to load: {plugin.reason}.", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 ok; 2 bad input; 3 unsupported or skipped; 130 interrupted; 1 anything else. Errors are one sentence on stderr,
    with a traceback where ``REFBENCH_DEBUG=1``.
    """
    never_refuse()
    try:
        answer = cli.main(
            _without_dash(sys.argv[1:] if arguments is None else arguments), prog_name="refbench", standalone_mode=False
        )
    except (click.Abort, KeyboardInterrupt):
        echo("Interrupted.", err=True)
        return 130
    except click.ClickException as error:
        return _fail(error, error.format_message(), error.exit_code)
    except RefbenchError as error:
        is_input, is_skipped = isinstance(error, InputError), isinstance(error, (UnsupportedError, SkippedError))
        return _fail(error, str(error), 2 if is_input else 3 if is_skipped else 1)
    except OSError as error:
        where = f" ({str(error.filename)[:PATH_SHOWN]})" if error.filename else ""
        return _fail(error, f"{error.strerror or error}{where}.", 2 if error.errno in _BAD_PATHS else 1)
    except Exception as error:
        hint = f"set {DEBUG_VARIABLE}=1 to see where"
        return _fail(error, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}; {hint}.", 1)
    return answer if isinstance(answer, int) else 0


def _without_dash(arguments: Sequence[str]) -> list[str]:
    """Return the words with ``--json -`` as ``--json``: JSON goes to standard output anyway."""
    return [word for n, word in enumerate(arguments) if word != "-" or n == 0 or arguments[n - 1] != "--json"]


def _fail(error: Exception, message: str, code: int) -> int:
    """Print the sentence and return the code."""
    if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(error)
    echo(f"Error: {message}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
