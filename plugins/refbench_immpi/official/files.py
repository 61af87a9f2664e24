"""What the plugin offers for official files of ImMPI; see ``refbench.contracts.official``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.contracts.official import NoOfficialFiles, OfficialConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench import Scene
    from refbench_immpi.official.config import OfficialConfig as TextConfig

PUBLISHED_PLANES = 32
LEARNT = 10
"""Views that the published optimisation learns from: 001, 003, ... 019."""


class Files(NoOfficialFiles):
    """Text configurations and the scene that a per-scene one names, checkpoints, LEVIR-NVS folders."""

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official text configuration, None for any other file."""
        from refbench_immpi.official.config import pairs_of, program_of, read_official

        if path.suffix != ".txt" or program_of(pairs_of(path)) is None:
            return None
        official = read_official(path)
        values, notes = _translated(official)
        return OfficialConfig(path, values, tuple(notes), official)

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return the scene that a per-scene configuration names, None for other programs' files.

        Raises
        ------
        InputError
            There is no such folder.
        """
        from refbench_immpi.official.folders import is_scene_folder, open_scene_folder

        del name
        values = config.parsed.values
        root = values.get("dataset_dirpath")
        if root is None:
            return None
        folder = Path(root) / values["scene_id"]
        if not is_scene_folder(folder):
            raise InputError(
                f"{config.path}: dataset_dirpath and scene_id name {folder}, which holds no Images and Cams."
            )
        return open_scene_folder(folder)

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Turn an official ``.ckpt`` (or a folder of them: the newest) into a weights folder.

        Raises
        ------
        WeightsError
            The file is damaged, wants to run code, or is of another network.
        """
        del options
        from refbench_immpi.weights import filled_network, read_model, trained_model

        stored = read_model(source)
        card = (
            f"# ImMPI, imported\n\nFrom the official {stored.path.name}. Its planes' encoding is the published, "
            "scrambled one, so it is meaningful with the number of planes of its training only (32 as published), and "
            "its norms take the statistics of what they see. The official repository grants no licence: whether its "
            "weights may be used or passed on is for its authors to say.\n"
        )
        nets = filled_network(stored)
        trained_model(nets, PUBLISHED_PLANES, provenance={"source": stored.path.name}, card=card).save(folder)
        return {
            "parameters": sum(parameter.numel() for parameter in nets.parameters()),
            "encoder": nets.generator.config.encoder,
            "epoch": int(stored.meta.get("epoch", 0)),
        }

    def export_scene(self, scene: Scene, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Write a scene's pinhole views as a LEVIR-NVS folder; see ``folder_export.export_scene``."""
        del options
        from refbench_immpi.official.folder_export import export_scene

        return export_scene(scene, folder)


def _translated(official: TextConfig) -> tuple[dict[str, Any], list[str]]:
    """Return nested values of ``ImMPIConfig``, and what was assumed."""
    values = official.values
    found: dict[str, Any] = {
        "level": False,
        "norms": "batch",
        "holdout": 0,
        "most_pixels": None,
        "planes": {"number": values["depth_sample_num"]},
    }
    if official.program == "video":
        return found, ["A video is rendered by refbench render --track."]
    epochs, divisor = official.milestones()
    rates = {"lr": values["learning_rate"], "divisor": divisor}
    rates["milestones"] = [epoch / values["epochs"] for epoch in epochs if epoch < values["epochs"]]
    found["loss"] = {"rgb": values["loss_rgb_weight"], "ssim": values["loss_ssim_weight"]}
    notes = []
    if official.program == "optimize":
        found["loss"]["lpips"] = values["loss_lpips_weight"]
        found["optimise"] = {**rates, "steps": values["epochs"] * LEARNT, "references": 1}
        found["optimise"]["views"] = [f"{view:03d}" for view in (int(values["sample_id"]), *range(1, 2 * LEARNT, 2))]
        found["weights"] = values["ckpt_filepath"]
        if values["loss_lpips_weight"]:
            notes.append("LPIPS counts where loss.lpips_weights names its file; the official code downloads one.")
        return found, notes
    samples = {19: 2, 4: 6}.get(values["neighbor_view_num"], 0)
    scenes = _lines(values["train_list_filepath"])
    found["training"] = {
        **rates,
        "folder": values["train_dataset_dirpath"],
        "scenes": values["train_list_filepath"] if scenes else None,
        "validate_folder": values["validate_dataset_dirpath"] if _lines(values["validate_list_filepath"]) else None,
        "validate_scenes": values["validate_list_filepath"] if _lines(values["validate_list_filepath"]) else None,
        "neighbours": values["neighbor_view_num"],
        "steps": max(1, values["epochs"] * samples * max(1, scenes)),
    }
    return found, notes


def _lines(path: str) -> int:
    """Return how many scenes a list names; 0 where there is no such list."""
    found = Path(path)
    return sum(bool(line.strip()) for line in found.read_text().splitlines()) if found.is_file() else 0
