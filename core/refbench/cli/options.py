"""Options that several verbs share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from refbench.cli.completion import complete_assessors, complete_configs, complete_methods, complete_weights
from refbench.files.gdal_path import TRUST_VARIABLE, own_path
from refbench.files.sizes import parse_size
from refbench.formats.limits import LIMIT_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def named_files(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """Turn ``NAME=FILE`` texts into a mapping; a callback of click."""
    pairs = [_split(ctx, param, value, "NAME=FILE, such as building=building.tif") for value in values]
    return {name: own_path(file) for name, file in _once(ctx, param, pairs).items()}


class RasterPath(click.ParamType):  # type: ignore[type-arg]  # generic in click 8.5 alone
    """A raster that the user names: a file, a path of GDAL's virtual file systems, or a URL."""

    name = "raster"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401
        """Return the path."""
        del param, ctx
        return own_path(value)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show it as a path."""
        del param, ctx
        return "PATH"


def assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Turn ``KEY=VALUE`` texts into a mapping, the values read as YAML; a callback of click."""
    pairs = [_split(ctx, param, value, "KEY=VALUE, such as size=5") for value in values]
    return {key: _yaml_value(ctx, param, key, text) for key, text in _once(ctx, param, pairs).items()}


def _once(ctx: click.Context, param: click.Parameter, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs as a mapping; a name that is given twice is refused."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found:
            raise click.BadParameter(f"{name} is given twice; give it once.", ctx, param)
        found[name] = value
    return found


def _split(ctx: click.Context, param: click.Parameter, value: str, form: str) -> tuple[str, str]:
    left, _, right = value.partition("=")
    if not (left and right):
        raise click.BadParameter(f"{value!r} must read {form}.", ctx, param)
    return left, right


def _yaml_value(ctx: click.Context, param: click.Parameter, key: str, text: str) -> Any:  # noqa: ANN401  # any YAML
    # Not at module level: the listing verbs share this file.
    import yaml

    from refbench.files.yaml_text import parse_yaml

    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise click.BadParameter(f"the value of {key} is not YAML: {text!r}.", ctx, param) from error


method_option = click.option(
    "--method", metavar="NAME", required=True, shell_complete=complete_methods, help="The method; see refbench methods."
)
config_option = click.option(
    "--config", metavar="NAME|FILE", shell_complete=complete_configs, help="A shipped configuration or a YAML file."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", callback=assignments, help="Set one configuration key."
)
weights_option = click.option(
    "--weights", metavar="NAME|PATH", shell_complete=complete_weights, help="Weights by name, folder or file."
)
mask_option = click.option(
    "--mask", "masks", multiple=True, metavar="NAME=FILE", callback=named_files, help="A class mask; repeatable."
)
assessor_option = click.option(
    "--assessor",
    "assessors",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_assessors,
    help="Additional quality check on the DSM; list them with `refbench plugins`.",
)
assessor_values_option = click.option(
    "--option",
    "assessor_options",
    multiple=True,
    metavar="[NAME.]KEY=VALUE",
    callback=assignments,
    help="An option of the assessors, or of the one NAME; repeatable.",
)
official_option = click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=assignments,
    help="An option of the method's own reader or writer; repeatable.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
nodata_in_option = click.option(
    "--nodata-in", type=float, help="NoData code of DSM and reference that their files do not declare."
)


resampling_option = click.option(
    "--resampling",
    default="auto",
    show_default=True,
    metavar="KERNEL",
    help="How rasters come to another grid: auto (bilinear, average of finer), nearest, bilinear, cubic, average.",
)


def _trust(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    del ctx, param
    if value:
        os.environ[TRUST_VARIABLE] = "1"  # the processes of jobs see it, too
    return value


def _limit_pixels(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    del ctx, param
    if value is not None:
        os.environ[LIMIT_VARIABLE] = str(value)  # the processes of jobs see it, too


max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1, max=10**18 - 1),
    callback=_limit_pixels,
    expose_value=False,
    help="Largest number of pixels that a raster may declare; default: 2^31, less on a machine of little memory.",
)


trust_option = click.option(
    "--trust",
    is_flag=True,
    callback=_trust,
    expose_value=False,
    help="Open the /vsi paths and URLs that a scene.yaml names.",
)


def parse_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Turn ``4GB`` into bytes; a callback of click."""
    if value is None:
        return None
    try:
        return parse_size(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} must be a size such as 500MB or 4GB.", ctx, param) from None


memory_option = click.option(
    "--memory",
    callback=parse_bytes,
    default="2GiB",
    show_default=True,
    help="Budget of what is read of rasters at once: tiles processed at once, strips that are scored.",
)
