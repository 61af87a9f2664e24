"""Official files of the enhancer: options, checkpoints, tiles, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench_pix2pix.official.options import is_options_file, option_values, read_options

if TYPE_CHECKING:
    from refbench import Scene


def read_config(path: Path) -> dict[str, Any] | None:
    """Return the translation of an official options file (``*_opt.txt``), None for any other file.

    Returns
    -------
    dict
        ``config``: nested values of ``Pix2PixConfig``; ``notes``: what was assumed.

    Raises
    ------
    ConfigError
        An ill-typed option.
    """
    path = Path(path)
    if path.suffix != ".txt" or not is_options_file(path):
        return None
    options = read_options(path)
    values = option_values(options, path)
    notes = ["Official options: heights pass through 8 bits, one level is one metre above 0 (--set values.path=float)."]
    network = path.parent / f"{options.get('epoch', 'latest')}_net_G.pth"
    if network.is_file():
        values["weights"] = str(network)
    return {"config": values, "notes": notes}


def import_weights(source: Path, folder: Path, epoch: str = "latest", path: str = "float") -> dict[str, Any]:
    """Turn an official run folder or generator file into a weights folder; return notes for the user.

    Parameters
    ----------
    source
        ``<checkpoints_dir>/<name>`` or a ``*_net_G.pth``; only tensors are read.
    folder
        The weights folder to write.
    epoch
        Which checkpoint of a run folder: ``latest``, a number, ``iter_<n>``.
    path
        ``float`` keeps metres whole, ``8bit`` truncates them as the official code does.

    Raises
    ------
    WeightsError
        The file is damaged, wants to run code, or is of another network.
    """
    from refbench_pix2pix.config import ValueConfig
    from refbench_pix2pix.weights import filled_network, read_model, trained_model

    if path not in ("float", "8bit"):
        raise InputError(f"path must be float or 8bit, got {path!r}.")
    stored = read_model(Path(source), epoch)
    net, values = filled_network(stored), ValueConfig(path="8bit" if path == "8bit" else "float")
    card = (
        f"# pix2pix DSM enhancer, imported\n\nFrom the official {stored.path.name}. One level is one metre above 0, so "
        "it knows heights from 0 to 255 m only. The official repository grants no licence: whether its weights may be "
        "used or passed on is for its authors to say.\n"
    )
    trained_model(net, values, provenance={"source": stored.path.name}, card=card).save(Path(folder))
    parameters = sum(parameter.numel() for parameter in net.parameters())
    return {"input channels": net.config.input_nc, "parameters": parameters, "path": path}


def export_scene(scene: Scene, folder: Path) -> dict[str, Any]:
    """Write a scene as official tile files; see ``tile_export.export_scene``."""
    from refbench_pix2pix.official.tile_export import export_scene as export

    return export(scene, Path(folder))
