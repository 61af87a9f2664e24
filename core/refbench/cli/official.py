"""Calling what a method's plugin offers for the official system's files."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.registry.registry import load_registry
from refbench.registry.requirements import check_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def official_function(method: str, name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a function of the method's official module with ``options`` bound.

    Raises
    ------
    UnknownNameError
        There is no such method.
    MissingExtraError
        A package of the method is missing.
    InputError
        The method offers no such function, or it does not take one of the options.
    """
    record = load_registry().methods.get(method)
    function: Callable[..., Any] | None = None
    if record.official is not None:
        check_packages(record)
        function = getattr(importlib.import_module(record.official), name, None)
    if function is None:
        others = ", ".join(other.name for other in load_registry().methods if other.official) or "none"
        raise InputError(f"{method} has no {name.replace('_', ' ')}; methods with official files: {others}.")
    known = inspect.signature(function).parameters
    if unknown := [option for option in options if option not in known]:
        valid = ", ".join(list(known)[2:]) or "none"
        raise InputError(f"{name.replace('_', ' ')} of {method} takes no option {unknown[0]}; valid ones: {valid}.")
    return functools.partial(function, **options)
