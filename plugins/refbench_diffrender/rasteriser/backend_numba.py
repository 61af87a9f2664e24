"""The rasteriser on the CPU: compiled kernels inside autograd functions, on as many threads as torch uses.

Results and gradients do not depend on the number of threads: depth buffers are merged by depth and number, gradients
are summed over fixed bands in a fixed order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench_diffrender.rasteriser import kernels_antialias, kernels_shade
from refbench_diffrender.rasteriser.autograd import applied, applied_to_all
from refbench_diffrender.rasteriser.buffers import Buffers
from refbench_diffrender.rasteriser.functions_image import Antialias, Texture
from refbench_diffrender.rasteriser.functions_mesh import Interpolate, Shade
from refbench_diffrender.rasteriser.shapes import (
    as_indices,
    check_attributes,
    check_channels,
    check_image,
    check_mesh,
    check_texture,
    check_triangles,
)
from refbench_diffrender.rasteriser.topology import opposite_vertices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class NumbaRasteriser:
    """See ``Rasteriser``."""

    name = "numba"

    def __init__(self, epsilons: bool = True) -> None:
        """``epsilons``: see ``rasteriser``."""
        self.epsilons = epsilons
        self._buffers = Buffers()

    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """See ``Rasteriser``."""
        return self.render(pos, triangles, pos.new_zeros((1, pos.shape[1], 0)), shape)[0]

    def render(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        check_attributes(attributes, len(pos), pos.shape[1])
        none = pos.new_zeros((1, 1, 1, 0))
        rast, found, _ = applied_to_all(
            Shade, self._buffers, pos, attributes, none, as_indices(triangles), tuple(shape), self._area_epsilon, 0
        )
        return rast, found

    def shade(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, texture: Tensor, shape: tuple[int, int],
        masked: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """See ``Rasteriser``."""
        check_mesh(pos, triangles, shape)
        check_attributes(attributes, len(pos), pos.shape[1], least=2)
        check_texture(texture, len(pos))
        first = check_channels("masked", masked, texture.shape[3])
        out = applied_to_all(
            Shade,
            self._buffers,
            pos,
            attributes,
            texture,
            as_indices(triangles),
            tuple(shape),
            self._area_epsilon,
            first,
        )
        return out[0], out[1], out[2]

    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("rast", rast, 4)
        check_triangles(triangles)
        check_attributes(attributes, len(rast))
        return applied(Interpolate, self._buffers, attributes, rast, as_indices(triangles))

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """See ``Rasteriser``."""
        check_image("uv", uv, 2)
        check_texture(texture, len(uv))
        return applied(Texture, self._buffers, texture, uv)

    def topology(self, triangles: Tensor) -> NDArray[np.int32]:
        """See ``Rasteriser``."""
        check_triangles(triangles)
        return opposite_vertices(as_indices(triangles).numpy())

    def antialias(
        self, colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, topology: object | None = None,
        channels: int | None = None,
    ) -> Tensor:  # fmt: skip
        """See ``Rasteriser``."""
        check_image("colour", colour)
        check_image("rast", rast, 4)
        check_mesh(pos, triangles, (rast.shape[1], rast.shape[2]))
        opposite = self.topology(triangles) if topology is None else topology
        epsilon = kernels_antialias.PIXEL_EPSILON if self.epsilons else 0.0
        first = check_channels("channels", channels, colour.shape[3])
        return applied(
            Antialias, self._buffers, colour, pos, rast.detach(), as_indices(triangles), opposite, epsilon, first
        )

    @property
    def _area_epsilon(self) -> float:
        return kernels_shade.AREA_EPSILON if self.epsilons else 0.0
