"""Exposures and response of the cameras: colours of one view as another one would have recorded them.

Images hold sRGB values in [0, 1] with the three channels last, [..., rows, cols, 3].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench_diffrender.views.image_sampling import encoded_of, linear_of

if TYPE_CHECKING:
    from pathlib import Path

DARKEST = 1e-4
EXPOSURE_RATE, RESPONSE_RATE = 5e-3, 5e-4
"""Learning rates of the two groups of parameters."""


class Tonemapper(nn.Module):
    """One exposure per view, in stops, and one response exponent per channel.

    Parameters
    ----------
    views
        Number of views.
    compat
        As published: a view's number is found through a quotient in float32, which meets the view before it for some.
    """

    def __init__(self, views: int, *, compat: bool = False) -> None:
        super().__init__()
        self.exposure = nn.Parameter(torch.zeros(views, device="cpu"))
        self.response = nn.Parameter(torch.ones(1, 3, 1, 1, device="cpu"))
        self.compat = compat

    def linear(self, image: Tensor, view: int) -> Tensor:
        """Return scene light of an image [..., rows, cols, 3] that ``view`` took. Colours in [0, 1]."""
        root = (1 / self._response()).clamp(min=DARKEST)
        return linear_of(image).clamp(min=DARKEST) ** root * 2 ** self.exposure[self._index(view)]

    def image_of(self, light: Tensor, view: int) -> Tensor:
        """Return the image [..., rows, cols, 3] that ``view`` would take of scene light. Colours in [0, 1]."""
        return encoded_of((light / 2 ** self.exposure[self._index(view)]) ** self._response())

    def forward(self, image: Tensor, of: int, by: int) -> Tensor:
        """Return an image [..., rows, cols, 3] that view ``of`` took as view ``by`` would have taken it.

        Colours in [0, 1].
        """
        return self.image_of(self.linear(image, of), by)

    def groups(self) -> list[dict[str, object]]:
        """Return the optimiser's groups of parameters: exposures, then responses."""
        return [
            {"params": [self.exposure], "lr": EXPOSURE_RATE},
            {"params": [self.response], "lr": RESPONSE_RATE},
        ]

    def _response(self) -> Tensor:
        return self.response.reshape(3)

    def _index(self, view: int) -> int:
        return quotient_index(len(self.exposure), view) if self.compat else view


def quotient_index(views: int, view: int) -> int:
    """Return the number under which the official code looks view ``view`` of ``views`` up: one less for some."""
    if views < 2:
        return 0
    last = np.float32(views - 1)
    return int(last * (np.float32(view) / last))


def save_tonemapper(tonemapper: Tonemapper, exposure: Path, response: Path) -> None:
    """Write exposures and responses as the official text files, one number a line."""
    for path, values in ((exposure, tonemapper.exposure), (response, tonemapper.response)):
        with atomic_file(path) as file:
            np.savetxt(file, values.detach().cpu().reshape(-1).numpy())


def load_tonemapper(exposure: Path, response: Path, *, compat: bool = False) -> Tonemapper:
    """Read the official text files.

    Raises
    ------
    InputError
        A file that does not hold numbers, or not three responses.
    """
    exposures, responses = _numbers(exposure), _numbers(response)
    if len(responses) != 3:
        raise InputError(f"{response} holds {len(responses)} responses, expected one for each of 3 channels.")
    tonemapper = Tonemapper(len(exposures), compat=compat)
    with torch.no_grad():
        tonemapper.exposure.copy_(exposures)
        tonemapper.response.copy_(responses.reshape(1, 3, 1, 1))
    return tonemapper


def _numbers(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.loadtxt(path, dtype=np.float32, ndmin=1))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as numbers, one a line: {error}.") from error
