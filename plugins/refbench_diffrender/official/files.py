"""What the plugin offers for official files of the refinement; see ``refbench.contracts.official``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from refbench.contracts.official import NoOfficialFiles, OfficialConfig

if TYPE_CHECKING:
    from pathlib import Path

    from refbench import Scene


class Files(NoOfficialFiles):
    """JSON configurations and the folder of views that they name."""

    def read_config(self, path: Path) -> OfficialConfig | None:
        """Return the translation of an official JSON configuration, None for any other file."""
        from refbench_diffrender.official.config import is_official, read_official

        if not is_official(path):
            return None
        from refbench_diffrender.official.view import config_of

        official = read_official(path)
        values = dataclasses.asdict(config_of(official, compat=False))
        values["official"] = str(path.absolute())
        notes = [f"{key} is unknown to the official program and is left out." for key in official.ignored]
        notes.append("compat: true reproduces the official program with its defects.")
        return OfficialConfig(path, values, tuple(notes), official)

    def scene_from_config(self, config: OfficialConfig, name: str | None = None) -> Scene | None:
        """Return the views of the configuration's folder as a scene that is named by the view to refine."""
        from refbench_diffrender.official.scene import official_scene

        del name
        return official_scene(config.parsed)
