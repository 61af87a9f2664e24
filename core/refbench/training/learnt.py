"""What every learnt method needs once: weights as stored, weights for fewer inputs, what a training ends with.

A plugin's ``weights.py`` adds what is its own: ``read_model`` (path -> ``StoredModel``), ``filled_network``
(architecture and stored tensors -> network) and ``trained_model`` (network and constants -> ``Trained``).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from refbench.contracts.errors import SkippedError, WeightsError
from refbench.contracts.estimate import Estimate
from refbench.training.task import initialised
from refbench.weights.state_dict import load_state
from refbench.weights.weights_folder import META_FILE, TENSORS_FILE, is_weights_folder, read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.method import Context
    from refbench.contracts.tiles import TilePlan
    from refbench.formats.memory_budget import MemoryBudget
    from refbench.training.settings import TrainSettings
    from refbench.training.task import TrainTask

C = TypeVar("C")
N = TypeVar("N", bound=torch.nn.Module)

FORMAT = 1
RASTER_FRACTION = 2
"""A training caches rasters in at most 1 / RASTER_FRACTION of its memory budget."""
ACTIVATIONS = 200
"""Channels of activations that a tile holds at once, at full resolution."""
VALIDATIONS = 15
"""How often a training of a given number of steps is validated."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredModel(Generic[C]):
    """Weights as they are on disk.

    ``tensors`` by published key, floating ones float32 on the CPU; ``model`` is the architecture, None where no file
    says it; ``meta`` is the content of ``model.yaml``, or what foreign files say, of YAML types.
    """

    path: Path
    tensors: Mapping[str, torch.Tensor]
    model: C | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def facts(self, *names: str) -> dict[str, Any]:
        """Return those of ``names`` that ``meta`` holds, with their values."""
        return {name: self.meta[name] for name in names if name in self.meta}


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a training ends with: the network's state, what ``model.yaml`` says of it, and its provenance.

    ``tensors`` by published key; ``meta`` (architecture, normalisation, constants) and ``provenance`` are of YAML
    types; ``card`` is the model card, Markdown.
    """

    method: str
    tensors: Mapping[str, torch.Tensor]
    meta: Mapping[str, Any]
    provenance: Mapping[str, Any]
    card: str

    def save(self, folder: Path, *, half: bool = False) -> None:
        """Write the weights folder; ``half`` stores float16.

        Raises
        ------
        InputError
            ``folder`` exists and is not a weights folder.
        """
        arrays = {name: _array(tensor, half) for name, tensor in self.tensors.items()}
        meta = {"refbench_weights": FORMAT, "method": self.method, **self.meta, "provenance": dict(self.provenance)}
        write_weights(folder, arrays, meta, self.card)


def is_stored_folder(path: Path) -> bool:
    """Return whether ``path`` is a weights folder, or the tensors' file of one; else it is a foreign file."""
    return path.name == TENSORS_FILE or is_weights_folder(path)


def read_stored(path: Path, method: str, section: str, kind: type[C]) -> StoredModel[C]:
    """Open a weights folder.

    Parameters
    ----------
    path
        The folder, or the tensors' file in it.
    method
        Name of the method whose weights these must be.
    section, kind
        Key in ``model.yaml`` that holds the architecture, and its dataclass.

    Raises
    ------
    WeightsError
        Damaged, of another method, or without a valid architecture.
    MissingFileError
        The folder lacks one of its files.
    """
    from pydantic import TypeAdapter, ValidationError

    folder = read_weights(path)
    if (found := folder.meta.get("method")) != method:
        raise WeightsError(f"{path} holds weights of {found or 'an unnamed method'}, not of {method}.")
    try:
        model = TypeAdapter(kind).validate_python(folder.meta.get(section))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (section, *first["loc"])))
        raise WeightsError(f"{folder.path / META_FILE}: {where}: {first['msg']}.") from error
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in folder.tensors().items()}
    return StoredModel(folder.path, in_float32(tensors), model, folder.meta)


def in_float32(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors, floating ones as float32. Shapes stay."""
    return {str(name): value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def filled(build: Callable[[], N], stored: StoredModel[Any], hint: str = "give weights of this architecture") -> N:
    """Return ``build()`` with the stored tensors, in evaluation mode; ``WeightsError`` where they do not fit."""
    return load_state(build, stored.tensors, stored.path, hint).eval()


def first_network(learnt: N | None, seed: int, build: Callable[[], N]) -> N:
    """Return what a training begins with: a copy of what was ``learnt`` before, else a fresh network of the seed."""
    return initialised(seed, build) if learnt is None else copy.deepcopy(learnt)


def for_fewer_inputs(used: Path | None, built_in: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the weights folders among ``names``, best first: beside the weights ``used``, else the built-in ones.

    Weights of one method for more and fewer inputs lie beside each other, each under the name of its inputs.
    """
    if used is not None and used.name == TENSORS_FILE:
        used = used.parent
    parents = [*([] if used is None else [used.parent]), built_in]
    return (parent / name for name in names for parent in parents if is_weights_folder(parent / name))


def without_weights(title: str, method: str) -> SkippedError:
    """Return the error of a method that was asked to refine and has no weights."""
    return SkippedError(
        f"{title} has no weights; import some with refbench import-weights --method {method}, or train it."
    )


def tiles_cost(plan: TilePlan, net: torch.nn.Module, seconds_per_megapixel: float, passes: int = 1) -> Estimate:
    """Return what a network costs on tiles: in proportion to their pixels, its parameters and the passes.

    ``seconds_per_megapixel`` is the CPU time per 10^6 pixels of tiles and 10^6 parameters.
    """
    parameters = sum(tensor.numel() for tensor in net.parameters())
    pixels = plan.height * plan.width
    seconds = seconds_per_megapixel * passes * len(plan) * pixels / 1e6 * parameters / 1e6
    # Activations of one tile: some hundred float32 channels at full resolution.
    return Estimate(4 * (ACTIVATIONS * pixels + parameters), seconds)


def raster_budget(context: Context) -> MemoryBudget:
    """Return the memory that a training may cache rasters in."""
    from refbench.formats.memory_budget import MemoryBudget

    return MemoryBudget(context.memory_budget_bytes // RASTER_FRACTION)


def take_best(task: TrainTask, settings: TrainSettings) -> None:
    """Give the task's model the weights of the best checkpoint, where there is one; the model ends on the CPU."""
    task.model.cpu().eval()
    best = None if settings.folder is None else task.files.best_in(settings.folder)
    if best is not None and best.exists():
        task.read_model(best)


def _array(tensor: torch.Tensor, half: bool) -> NDArray[Any]:
    stored = tensor.half() if half and tensor.is_floating_point() else tensor
    array: NDArray[Any] = stored.detach().cpu().numpy()
    return array
