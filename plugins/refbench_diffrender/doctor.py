"""What ``refbench doctor`` says of the rasterisers: each renders a triangle, and gets the same as plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import UnsupportedError
from refbench_diffrender.rasteriser.rasteriser import nvdiffrast_problem, rasteriser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench_diffrender.rasteriser.rasteriser import Rasteriser

SHAPE = (16, 24)
TOLERANCE = 1e-4


def checks() -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it works and a sentence, for every backend that is optional and for the default ones."""
    yield _backend("numba", "cpu")
    problem = nvdiffrast_problem()
    yield _backend("nvdiffrast", "cuda") if problem is None else ("nvdiffrast", False, problem)
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        yield f"rasteriser on {device}", True, f"{rasteriser('auto', device).name} is taken"


def _backend(name: str, device: str) -> tuple[str, bool, str]:
    try:
        difference = _difference(rasteriser(name, device), device)
    except UnsupportedError as error:
        return name, False, str(error)
    except Exception as error:  # a broken build fails in many ways
        return name, False, f"it loads, but cannot render a triangle: {' '.join(str(error).split())}"
    if difference > TOLERANCE:
        return name, False, f"a test triangle differs from plain torch by {difference:.2g}: reinstall it for this torch"
    return name, True, f"renders a test triangle on {device} as plain torch does"


def _difference(renderer: Rasteriser, device: str) -> float:
    """Return the largest difference from the torch backend in an image of a triangle and in its gradient."""
    found = []
    for each, place in ((renderer, device), (rasteriser("torch"), "cpu")):
        corners = [[-0.8, -0.7, 0.1, 1], [0.9, -0.5, 0.2, 1], [0.1, 0.9, 0.3, 1]]
        pos = torch.tensor([corners], device=place, requires_grad=True)
        colours = torch.eye(3, device=place)[None]
        _, image = each.render(pos, torch.tensor([[0, 1, 2]], dtype=torch.int32, device=place), colours, SHAPE)
        torch.autograd.backward((image * image).sum())
        assert pos.grad is not None  # just computed
        found.append(torch.cat([image.detach().cpu().ravel(), pos.grad.cpu().ravel()]))
    return float((found[0] - found[1]).abs().max())
