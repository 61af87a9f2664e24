"""The log of a job: phases and messages of refbench and its plugins with their time, in ``log.txt``."""

from __future__ import annotations

import logging
import os
import sys

VERBOSITY_VARIABLE = "REFBENCH_VERBOSITY"
_LOUD = ("rasterio", "matplotlib", "numba", "PIL", "fiona", "urllib3", "lightning_fabric", "h5py")
"""Packages whose own INFO tells nothing of a job."""
logger = logging.getLogger("refbench.job")


def start_log() -> None:
    """Send messages from INFO on to standard output, which is the job's log; DEBUG with ``-vv``."""
    text = os.environ.get(VERBOSITY_VARIABLE, "")
    level = logging.DEBUG if text.isdigit() and int(text) > 1 else logging.INFO
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, datefmt="%H:%M:%S", stream=sys.stdout, force=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
