"""What lies in ``$REFBENCH_GOLDEN/pix2pix``: the parity tests find their cases here and nowhere else."""

from __future__ import annotations

from functools import partial

from golden import cases as cases
from golden import files_of, folder_of, manifest_of
from golden import fill as fill
from golden import load_npz as load_npz

METHOD = "pix2pix"

golden_folder = partial(folder_of, METHOD)
manifest = partial(manifest_of, METHOD)
files = partial(files_of, METHOD)
