"""``refbench train``: train a method and write its weights folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn

from refbench.cli.completion import complete_methods
from refbench.cli.options import config_option, set_option, weights_option
from refbench.contracts.errors import InputError, SkippedError
from refbench.contracts.method import Context, TrainableMethod
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.device import check_device
from refbench.engine.inputs.recipes import read_recipe
from refbench.engine.inputs.weights import find_weights
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages
from refbench.reporting.terminal import echo
from refbench.reporting.terminal_console import console as terminal
from refbench.scenes.scan import scanned
from refbench.scenes.scene_yaml import load_scene
from refbench.weights.weights_folder import check_weights_target

RUN_FOLDER = "run"
RANK_VARIABLE = "LOCAL_RANK"
"""What Lightning sets in the processes that it starts for further devices; they run this verb, too."""


@click.command()
@click.argument("scenes", nargs=-1, type=click.Path(path_type=Path))
@click.option("--method", metavar="NAME", shell_complete=complete_methods, help="The method; see refbench methods.")
@click.option("--recipe", metavar="NAME|FILE", help="A training by name: method, configuration, weights and steps.")
@config_option
@set_option
@weights_option
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps; default: as configured.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the weights and of the run.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in --out.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random draw.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def command(scenes: tuple[Path, ...], method: str | None, out: Path, **options: Any) -> None:  # noqa: ANN401  # the options above
    """Train on SCENES (folders with scene.yaml and a reference), or on the data set that the configuration names.

    A recipe makes its data itself.

    OUT/weights is the weights folder, OUT/run holds checkpoints, curves and TensorBoard logs. Without --weights
    training starts from scratch.
    """
    recipe = None if options["recipe"] is None else read_recipe(options["recipe"])
    if (method is None) == (recipe is None):
        raise InputError("Give either --method or --recipe.")
    name = method if recipe is None else recipe.method
    assert name is not None  # one of them is there
    record = load_registry().methods.get(name)
    if recipe is not None:
        options["overrides"] = {**recipe.config, **options["overrides"]}
        options["weights"] = options["weights"] or recipe.weights
        options["steps"] = options["steps"] or recipe.steps
    if not record.trainable:
        raise InputError(f"{record.name} does not learn; refbench methods shows which methods do.")
    check_packages(record)
    check_device(options["device"])
    config = load_config(record, options["config"], options["overrides"])
    start = find_weights(record, options["weights"]) if options["weights"] is not None else None
    weights = out / "weights"
    is_first = os.environ.get(RANK_VARIABLE, "0") == "0"
    if is_first and out.exists() and not options["resume"] and any(out.iterdir()):
        raise InputError(f"--out {out} is not empty; give another folder, or --resume to go on with it.")
    check_weights_target(weights)
    opened = [scanned(load_scene(path)) for path in scenes]
    learner = record.load()(config.instance, start)
    if not isinstance(learner, TrainableMethod):
        raise SkippedError(f"{record.name} says that it can be trained, but has no fit.")
    console = terminal(stderr=True)
    for note in config.notes:
        console.print(f"note: {note}")
    with Progress(TextColumn("{task.description}", markup=False), BarColumn(), console=console, transient=True) as bar:
        task = bar.add_task("start", total=1.0)

        def report(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message)

        context = Context(device=options["device"], seed=options["seed"], report=report)
        run = out / RUN_FOLDER
        trained = learner.fit(opened, context, steps=options["steps"], folder=run, resume=options["resume"])
    if not is_first:  # one of several devices: the first writes for all
        return
    trained.save(weights)
    for key, value in trained.provenance.items():
        echo(f"{key.replace('_', ' ')}: {value}")
    echo(f"weights: {weights}")
