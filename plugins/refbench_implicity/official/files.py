"""What the plugin offers for official ImpliCity files; see ``refbench.contracts.official``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from refbench.contracts.errors import InputError
from refbench.contracts.official import NoOfficialFiles, OfficialConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench import Scene
    from refbench_implicity.config import ImpliCityConfig


class Files(NoOfficialFiles):
    """Configurations and the chunk data set that they name, checkpoints, chunk folders."""

    import_options: ClassVar[Mapping[str, str]] = {
        "config": "the official configuration of the training: architecture, normalisation, patch size; without it "
        "the published values are taken, since a checkpoint carries none of them"
    }

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official configuration, None for any other file."""
        from refbench_implicity.official.config import check_official, is_official_file, read_official
        from refbench_implicity.official.translation import translate

        if not is_official_file(path):
            return None
        checked, dropped = check_official(read_official(path), path)
        notes = []
        if dropped:
            notes.append(f"Dropped from {path.name}, as they only steer logs or the exit timer: {', '.join(dropped)}.")
        return OfficialConfig(path, translate(checked, path), tuple(notes))

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return a split of the configuration's data set as a scene, by default ``test``."""
        from refbench_implicity.official.scene import official_scene

        return official_scene(self._typed(config).dataset, name or "test")

    def import_weights(self, source: Path, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        """Turn an official checkpoint (``model.pt`` or ``model_best.pt``, of any age) into a weights folder.

        Raises
        ------
        InputError
            ``config`` is no official configuration.
        WeightsError
            The file is damaged, wants to run code, or has another architecture.
        """
        from refbench_implicity.config import ImpliCityConfig
        from refbench_implicity.method import ImpliCity
        from refbench_implicity.weights import trained_model

        config = None if options.get("config") is None else Path(str(options["config"]))
        translated = None if config is None else self.read_config(config)
        if config is not None and translated is None:
            raise InputError(f"{config} is no official ImpliCity configuration (YAML with model, dataset, ...).")
        method = ImpliCity(ImpliCityConfig() if translated is None else self._typed(translated), source)
        remarks = [*method.notes]
        if translated is None:
            remarks.append("No configuration was given: architecture, patch size and threshold are the published ones.")
        origin = {"source": source.name, "configuration": None if config is None else config.name}
        card = f"# ImpliCity-{method.model.variant}, imported\n\nFrom the official checkpoint {source.name}.\n"
        text = "\n".join([card, *(f"- {remark}" for remark in remarks), ""])
        trained_model(method.net, method.normalisation, method.constants, provenance=origin, card=text).save(folder)
        parameters = sum(parameter.numel() for parameter in method.net.parameters())
        return {"variant": method.model.variant, "parameters": parameters, "remarks": remarks}

    def export_scene(self, scene: Scene, folder: Path, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write a scene as an official data set; see ``export.export_scene``."""
        del options
        from refbench_implicity.official.export import export_scene

        return export_scene(scene, folder)

    def _typed(self, config: OfficialConfig) -> ImpliCityConfig:
        from refbench_implicity.official.translation import typed

        return typed(config.values, config.path)
