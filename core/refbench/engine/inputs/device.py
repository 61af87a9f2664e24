"""Whether a device can be had, asked before anything runs."""

from __future__ import annotations

import re

from refbench.contracts.errors import InputError
from refbench.registry.requirements import is_installed

_CUDA = re.compile(r"cuda(?::(\d{1,4}))?")


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not there; torch is imported for CUDA only.

    Raises
    ------
    InputError
        The message says what there is instead.
    """
    if device == "cpu":
        return
    found = _CUDA.fullmatch(device)
    if found is None:
        raise InputError(f"There is no device {device!r}; --device takes cpu, cuda or cuda:NUMBER.")
    if not is_installed("torch"):
        raise InputError(f"--device {device} needs torch, which is not installed; take --device cpu.")
    import torch

    if not torch.cuda.is_available():
        why = "no GPU or driver was found" if torch.version.cuda else "torch was built without CUDA"
        raise InputError(f"--device {device} cannot be had: {why}; take --device cpu.")
    if (count := torch.cuda.device_count()) <= int(found[1] or 0):
        raise InputError(f"--device {device} is not there: the machine has {count}, numbered from 0.")
