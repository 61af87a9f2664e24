"""The photometric terms of a step: colours, squared or robust, and the similarity of patches, on visible pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from refbench_diffrender.losses.colour_loss import colour_loss
from refbench_diffrender.losses.robust_loss import patch_loss, penalty_loss

if TYPE_CHECKING:
    from torch import Tensor

    from refbench_diffrender.config import LossConfig


COLOURS = 3


class Seen(NamedTuple):
    """The mesh in target views: ``visible`` [B, rows, cols, 1]; ``blended``, colours and last the edge map, not yet
    clamped, [B, rows, cols, 4]; ``depth`` [B, rows, cols] where views are compared by it.
    """

    visible: Tensor
    blended: Tensor
    depth: Tensor | None

    @property
    def colour(self) -> Tensor:
        """Colours [B, rows, cols, 3]."""
        return self.blended[..., :COLOURS]

    @property
    def edges(self) -> Tensor:
        """The edge map in [0, 1], [B, rows, cols, 1]."""
        return self.blended[..., COLOURS:].clamp(0, 1)


def photometric_terms(
    found: Tensor,
    wanted: Tensor,
    visible: Tensor,
    edges: Tensor,
    weights: tuple[float, float],
    config: LossConfig,
    *,
    compat: bool = False,
) -> dict[str, Tensor]:
    """Return the weighted terms ``colour`` and ``patch``, those whose weight is not 0.

    Parameters
    ----------
    found, wanted
        Rendered and observed colours [B, rows, cols, 3].
    visible
        1 where the mesh is seen and nothing hides it, else 0, [B, rows, cols, 1].
    edges
        The rendered edge map in [0, 1], [B, rows, cols, 1]: pixels count by its square.
    weights
        Of colour and patch.
    config
        Tells which penalty and which similarity.
    compat
        As ``colour_loss``.
    """
    terms: dict[str, Tensor] = {}
    colour, patch = weights
    damped = visible * edges.detach() ** 2
    if colour:
        if config.photometric == "squared":
            loss = colour_loss(found, wanted, visible, edges, compat=compat)
        else:
            loss = penalty_loss(found, wanted, damped, penalty=config.photometric)
        terms["colour"] = colour * loss
    if patch:
        terms["patch"] = patch * patch_loss(found, wanted, damped, patch=config.patch_kind)
    return terms
