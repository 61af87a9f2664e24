"""What the plugin offers for official files of the enhancer; see ``refbench.contracts.official``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from refbench.contracts.errors import InputError
from refbench.contracts.official import NoOfficialFiles, OfficialConfig
from refbench_pix2pix.official.options import is_options_file, option_values, read_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refbench import Scene


class Files(NoOfficialFiles):
    """Options files (``*_opt.txt``), generators, tile folders."""

    import_options: ClassVar[Mapping[str, str]] = {
        "epoch": "which checkpoint of a run folder: latest, a number, iter_<n>",
        "path": "float keeps metres whole, 8bit truncates them as the official code does",
    }

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official options file (``*_opt.txt``), None for any other file."""
        if path.suffix != ".txt" or not is_options_file(path):
            return None
        options = read_options(path)
        values = option_values(options, path)
        note = (
            "Official options: heights pass through 8 bits, one level is one metre above 0 (--set values.path=float)."
        )
        network = path.parent / f"{options.get('epoch', 'latest')}_net_G.pth"
        if network.is_file():
            values["weights"] = str(network)
        return OfficialConfig(path, values, (note,), options)

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Turn an official run folder or generator file into a weights folder.

        ``source`` is ``<checkpoints_dir>/<name>`` or a ``*_net_G.pth``; only tensors are read.

        Raises
        ------
        WeightsError
            The file is damaged, wants to run code, or is of another network.
        InputError
            ``path`` is neither of its two values.
        """
        from refbench_pix2pix.config import ValueConfig
        from refbench_pix2pix.weights import filled_network, read_model, trained_model

        epoch, path = str(options.get("epoch", "latest")), options.get("path", "float")
        if path not in ("float", "8bit"):
            raise InputError(f"path must be float or 8bit, got {path!r}.")
        stored = read_model(source, epoch)
        card = (
            f"# pix2pix DSM enhancer, imported\n\nFrom the official {stored.path.name}. One level is one metre above "
            "0, so it knows heights from 0 to 255 m only. The official repository grants no licence: whether its "
            "weights may be used or passed on is for its authors to say.\n"
        )
        values = ValueConfig(path="8bit" if path == "8bit" else "float")
        net = filled_network(stored)
        trained_model(net, values, provenance={"source": stored.path.name}, card=card).save(folder)
        parameters = sum(parameter.numel() for parameter in net.parameters())
        return {"input channels": net.config.input_nc, "parameters": parameters, "path": path}

    def export_scene(self, scene: Scene, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Write a scene as official tile files; see ``tile_export.export_scene``."""
        del options
        from refbench_pix2pix.official.tile_export import export_scene

        return export_scene(scene, folder)
