"""The scene inside the package: ``python -m refbench.city.embed [FOLDER]`` makes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

from refbench.city.make import make_city
from refbench.city.scene import write_city
from refbench.contracts.errors import InputError
from refbench.files.out_guard import CONTENTS_FILE
from refbench.files.regular import remove
from refbench.scenes.scene_yaml import embedded_scene_path

EMBEDDED_SEED = 1031
"""A test seed whose tile holds houses, a street front, lawns, trees and a pond."""
EMBEDDED_SIZE = 224
EMBEDDED_GSD = 0.5
EMBEDDED_AERIAL = 8
EMBEDDED_AERIAL_SHAPE = (216, 288)
LARGEST_BYTES = 4_000_000

_README = f"""# The embedded scene

City {EMBEDDED_SEED} of refbench's own generator, {EMBEDDED_SIZE} x {EMBEDDED_SIZE} px of {EMBEDDED_GSD} m: the default
of `refbench run`. Everything in it is computed (geometry, light, sensors); the points and the initial DSM come
from real semi-global matching of the two satellite images. Seeds from 1000 on are never trained on.

Made by `python -m refbench.city.embed`; `notes.yaml` tells sun, residual of the RPCs and error of the initial
DSM. Licence: MIT, as refbench itself.
"""


def write_embedded(folder: Path) -> Path:
    """Write the embedded scene into ``folder``, replacing what is there, and return its ``scene.yaml``.

    Raises
    ------
    InputError
        It came out larger than a package may carry.
    """
    city = make_city(
        EMBEDDED_SEED, EMBEDDED_SIZE, EMBEDDED_GSD, aerial=EMBEDDED_AERIAL, aerial_shape=EMBEDDED_AERIAL_SHAPE
    )
    remove(folder)
    path = write_city(city, folder)
    (folder / CONTENTS_FILE).unlink()  # it is part of the package and no city to be replaced
    (folder / "README.md").write_text(_README, encoding="utf-8")
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if total > LARGEST_BYTES:
        raise InputError(f"The embedded scene has {total:,} bytes; {LARGEST_BYTES:,} are allowed.")
    return path


if __name__ == "__main__":
    print(write_embedded(Path(sys.argv[1]) if len(sys.argv) > 1 else embedded_scene_path()))
