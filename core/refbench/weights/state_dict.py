"""Comparing the tensors of a file with those that a network has, before anything is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from refbench.contracts.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    N = TypeVar("N", bound=torch.nn.Module)


class _Shaped(Protocol):
    @property
    def shape(self) -> Sequence[int]:
        """Length of every axis."""


def check_state(expected: Mapping[str, _Shaped], given: Mapping[str, _Shaped], path: Path, hint: str) -> None:
    """Check that ``given`` has exactly the names and shapes of ``expected``.

    Raises
    ------
    WeightsError
        It has not; the sentence names the first difference, how many more there are, and ends with ``hint``.
    """
    if mistakes := list(_differences(expected, given)):
        more = f" (and {len(mistakes) - 1} more differences)" if len(mistakes) > 1 else ""
        raise WeightsError(f"{path} does not fit the network: {mistakes[0]}{more}; {hint}.")


def _differences(expected: Mapping[str, _Shaped], given: Mapping[str, _Shaped]) -> Iterator[str]:
    for key, tensor in expected.items():
        if key not in given:
            yield f"it lacks {key}"
        elif tuple(given[key].shape) != tuple(tensor.shape):
            yield f"{key} is {list(given[key].shape)}, the network's {list(tensor.shape)}"
    for key in given:
        if key not in expected:
            yield f"it holds {key}, which the network has not"


def load_state(build: Callable[[], N], state: Mapping[str, Any], path: Path, hint: str) -> N:
    """Return ``build()`` with the tensors of ``state`` themselves, nothing drawn and nothing copied.

    Raises
    ------
    WeightsError
        The tensors are not those of the network.
    """
    import torch

    with torch.device("meta"):  # no memory, no random numbers
        net = build()
    check_state(net.state_dict(), state, path, hint)
    net.load_state_dict(dict(state), assign=True)
    for parameter in net.parameters():
        parameter.requires_grad_(True)  # a parameter that is assigned takes over that its tensor needs none
    return net
