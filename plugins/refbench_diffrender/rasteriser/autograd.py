"""The two seams to torch's autograd that torch leaves untyped: the context of a function, and its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Context = Any
    """What a forward pass hands to its backward pass; functions hang attributes of their own on it."""


def applied(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    """Call an autograd function that returns one tensor. Its shape and unit are the function's."""
    return cast("Tensor", function.apply(*arguments))  # type: ignore[no-untyped-call]


def applied_to_all(function: type[torch.autograd.Function], *arguments: object) -> tuple[Tensor, ...]:
    """Call an autograd function that returns several tensors. Their shapes and units are the function's."""
    return cast("tuple[Tensor, ...]", function.apply(*arguments))  # type: ignore[no-untyped-call]
