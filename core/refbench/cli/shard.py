"""``refbench shard``: run one share of a suite's jobs, for job arrays without a scheduler library."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.cli.bench import RETRIES, failed_code, print_results, run_shown, statuses_of
from refbench.cli.completion import complete_suites
from refbench.cli.executor_options import executor_choice, executor_options
from refbench.engine.job.parts import SHARDS, Part
from refbench.engine.sweeps.jobs import plan_rows
from refbench.engine.sweeps.suite import check_trust, load_suite
from refbench.reporting.terminal import echo


@click.command()
@click.argument("suite", shell_complete=complete_suites)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the sweep, the same for all.")
@click.option("--of", type=int, required=True, help="How many shards the jobs are dealt to.")
@click.option("--index", type=int, required=True, help="Which of them to run, counted from 0.")
@executor_options
@click.option("--only", multiple=True, metavar="PATTERN", help="Jobs by method, scene or id; the same for all shards.")
@click.option("--retry", multiple=True, type=click.Choice(RETRIES), help="Run such jobs again; repeatable.")
@click.option("--trust", is_flag=True, help="Run the interpreters that a suite from elsewhere names.")
@click.option("--dry-run", is_flag=True, help="List the jobs of the shard and stop.")
def command(
    suite: str,
    out: Path,
    of: int,
    index: int,
    workers: int,
    kind: str | None,
    scheduler: str | None,
    worker_memory: int | None,
    only: tuple[str, ...],
    retry: tuple[str, ...],
    trust: bool,
    dry_run: bool,
) -> int:
    """Run the jobs of SUITE that belong to shard --index of --of, into a folder of their own below OUT.shards.

    Jobs are dealt out by their names, on every machine in the same way. A shard that was interrupted goes on where it
    stopped when it is run again; shards may run at the same time on one file system or on several. refbench merge
    joins them. Exit codes as refbench bench.
    """
    part, loaded = Part(index, of), load_suite(suite)
    if dry_run:
        check_trust(loaded, trust)
        names = [row.id for row in plan_rows(loaded, only)]
        for position in part.take(names):
            echo(names[position])
        return 0
    folder = part.folder(out.absolute(), SHARDS)
    results = run_shown(
        loaded,
        folder,
        resume=True,
        only=only,
        retry=statuses_of(retry),
        trust=trust,
        executor=executor_choice(workers, kind, scheduler, worker_memory),
        part=part,
    )
    print_results(results.items())
    echo(f"\n{folder}\nJoin the shards when all have run: refbench merge {out}")
    return failed_code(results.values())
