"""Official files of ImMPI: checkpoints in and out, text configurations, data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refbench import Scene


def import_weights(source: Path, folder: Path) -> dict[str, Any]:
    """Turn an official ``.ckpt`` (or a folder of them: the newest) into a weights folder; return notes for the user.

    Raises
    ------
    WeightsError
        The file is damaged, wants to run code, or is of another network.
    """
    from refbench_immpi.stored import read_model, write_model

    stored = read_model(Path(source))
    card = (
        f"# ImMPI, imported\n\nFrom the official {stored.path.name}. Its planes' encoding is the published, scrambled "
        "one, so it is meaningful with the number of planes of its training only (32 as published), and its norms "
        "take the statistics of what they see. The official repository grants no licence: whether its weights may be "
        "used or passed on is for its authors to say.\n"
    )
    facts = {"planes": 32}
    write_model(
        Path(folder), stored.encoder, stored.generator, facts, provenance={"source": stored.path.name}, card=card
    )
    nets = (stored.encoder, stored.generator)
    return {
        "parameters": sum(parameter.numel() for net in nets for parameter in net.parameters()),
        "encoder": stored.config.encoder,
        "epoch": int(stored.facts.get("epoch", 0)),
    }


def export_scene(scene: Scene, folder: Path) -> dict[str, Any]:
    """Write a scene's pinhole views as a LEVIR-NVS folder; see ``folder_export.export_scene``."""
    from refbench_immpi.folder_export import export_scene as export

    return export(scene, Path(folder))
