"""CARS's application ``dsm_filling`` with method ``interpolation``, that refines by refbench where it is asked to.

CARS 1.3 calls filling applications by the names it knows, so that a new one would never run. This one takes the name of
its interpolation and is that interpolation, unless its configuration holds the key ``refbench``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cars.applications.dsm_filling.interpolation_filling_app import InterpolationFilling

from refbench_cars.refine_dsm import KEY, refine_dsm, settings_of


class RefbenchFilling(InterpolationFilling, short_name="interpolation"):  # type: ignore[call-arg, misc]
    """The interpolation of CARS, or a method of refbench on the whole DSM."""

    def check_conf(self, conf: dict[str, Any] | None) -> dict[str, Any]:
        """Return the checked configuration; ``refbench`` is checked here, the rest by CARS."""
        asked = dict(conf or {})
        if KEY not in asked:
            checked: dict[str, Any] = super().check_conf(conf)
            return checked
        content = asked.pop(KEY)
        settings_of(content)
        return {**super().check_conf(asked), KEY: content}

    def run(self, dsm_file: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as CARS calls it
        """Refine the DSM by refbench where the configuration asks for it, else interpolate as CARS does.

        As with CARS's own methods the DSM in ``dsm_dir`` (or the file itself) is replaced, and ``dump_dir`` keeps the
        old one and ``filling.tif``.
        """
        if KEY not in self.used_config:
            return super().run(dsm_file, *args, **options)
        dump = Path(options["dump_dir"] if "dump_dir" in options else args[3])
        folder = options.get("dsm_dir")
        out = Path(dsm_file) if folder is None else Path(folder) / "dsm.tif"
        image = Path(dsm_file).parent / "image.tif"
        settings = settings_of(self.used_config[KEY])
        refine_dsm(Path(dsm_file), out, dump, settings, image if image.is_file() else None)
        return None
