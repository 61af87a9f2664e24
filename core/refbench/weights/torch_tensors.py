"""Tensors out of a pickle of PyTorch: storages are raw bytes of a known size, and no tensor reaches outside its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from refbench.weights.pickle_arrays import checked_lengths
from refbench.weights.pickle_limits import Unreadable, refused_call, shown
from refbench.weights.stubs import Name, Stub

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

FREE_BYTES = 256 * 2**20
BYTES_PER_BYTE = 8
"""All tensors, those that repeat a storage's elements written out, have this many bytes for each byte of the file."""
STORAGES = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
    "UntypedStorage": "uint8",
}
_ELEMENT_TYPES = {*STORAGES.values(), "uint16", "uint32", "uint64"}
_DEVICES = {"cpu", "cuda", "meta", "mps", "xpu"}
_UNSUPPORTED = {
    "_rebuild_qtensor": "quantised",
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "empty",
}


class Storage(Stub):
    """Elements in a row.

    Parameters
    ----------
    data
        uint8 [bytes].
    dtype
        Of the elements.
    first, count
        Where the elements begin in ``data``, and how many there are.
    is_untyped
        Whether the tensor that uses them says what they are.
    """

    def __init__(self, data: torch.Tensor, dtype: torch.dtype, first: int, count: int, is_untyped: bool) -> None:
        super().__init__("torch.storage")
        self.data, self.dtype, self.first, self.count, self.is_untyped = data, dtype, first, count, is_untyped


class StorageBytes(Protocol):
    """Where the raw bytes of storages are."""

    def get(self, key: str, size: int) -> torch.Tensor:
        """Return uint8 [size], which may be filled later. Raises ``Unreadable`` where the file has not as many."""


class TensorMaker:
    """Makes tensors of what PyTorch pickles.

    Parameters
    ----------
    torch
        The package.
    file_size
        Bytes of the whole file.
    source
        Gives the raw bytes of storages.
    """

    def __init__(self, torch: Any, file_size: int, source: StorageBytes) -> None:  # noqa: ANN401  # a module
        self._torch, self._source = torch, source
        self._left = FREE_BYTES + BYTES_PER_BYTE * file_size
        self._dtypes: dict[str, torch.dtype] = {name: getattr(torch, name) for name in _ELEMENT_TYPES}
        self.storages: dict[str, Storage] = {}

    def makers(self, call: Callable[..., Any]) -> dict[tuple[str, str], Callable[..., Any]]:
        """Return the functions that stand for those of torch; ``call`` calls a name."""

        def of_type(function: object, kind: object, args: object, state: object) -> Any:  # noqa: ANN401
            # A tensor with attributes, or of a class of its own: the tensor alone is taken.
            known = isinstance(function, Name) and function.key[0] == "torch._utils" and function.key in made
            if not known or not isinstance(args, tuple):
                raise refused_call("torch._tensor._rebuild_from_type_v2")
            return call(function, args)

        utils = "torch._utils"
        made: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch", "Size"): self._size,
            ("torch", "device"): self._device,
            (utils, "_rebuild_tensor"): self._tensor,
            (utils, "_rebuild_tensor_v2"): self._tensor,
            (utils, "_rebuild_tensor_v3"): self._untyped_tensor,
            (utils, "_rebuild_parameter"): self._parameter,
            (utils, "_rebuild_parameter_with_state"): lambda data, grad, hooks, state: self._parameter(data, grad),
            ("torch._tensor", "_rebuild_from_type_v2"): of_type,
        }
        return made

    def constant(self, module: str, name: str) -> torch.dtype | None:
        """Return the element type of a name; None where it is none."""
        return self._dtypes.get(name) if module == "torch" else None

    def unsupported(self, key: tuple[str, str]) -> str | None:
        """Return why a function of torch is not supported; None where nothing is known of it."""
        kind = _UNSUPPORTED.get(key[1]) if key[0] == "torch._utils" else None
        return f"holds {kind} tensors, which are not read; save a state_dict of dense ones instead" if kind else None

    def persistent(self, key: Any) -> Any:  # noqa: ANN401  # a storage, or what was given for a class
        """Return the storage that a tuple describes: "storage", type, key, location, count, view in older files."""
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "module":
            return key[1]  # a class of a whole network, with its source code
        if not isinstance(key, tuple) or len(key) not in (5, 6) or key[0] != "storage" or not isinstance(key[1], Name):
            raise Unreadable("is damaged: its pickle refers to a storage otherwise than PyTorch does")
        storage = self._stored(key[1], key[2], key[4])
        view = key[5] if len(key) == 6 else None
        return storage if view is None else _view(storage, view)

    def _stored(self, kind: Name, key: object, count: object) -> Storage:
        name = kind.key[1]
        if kind.key[0].partition(".")[0] != "torch" or name not in STORAGES:
            what = "quantised tensors" if name.startswith("Q") else f"tensors of {shown(kind.name)}"
            raise Unreadable(f"holds {what}, which are not read; save a state_dict of dense ones instead")
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise Unreadable("is damaged: its pickle refers to a storage otherwise than PyTorch does")
        dtype, is_untyped = self._dtypes[STORAGES[name]], name == "UntypedStorage"
        known = self.storages.get(key)
        if known is None:
            data = self._source.get(key, count * dtype.itemsize)
            known = self.storages[key] = Storage(data, dtype, 0, count, is_untyped)
        if (known.dtype, known.count, known.is_untyped) != (dtype, count, is_untyped):
            raise Unreadable(f"is damaged: its storage {shown(key)} has two types or sizes")
        return known

    def _tensor(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        requires_grad: object = False,
        *rest: object,
    ) -> torch.Tensor:
        """Return a tensor of a storage; hooks and metadata are dropped."""
        if not isinstance(storage, Storage) or storage.is_untyped or len(rest) > 2:
            raise Unreadable("is damaged: a tensor has no storage")
        return self._over(storage, storage.dtype, offset, size, stride, requires_grad)

    def _untyped_tensor(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        requires_grad: object,
        hooks: object,
        dtype: object,
        metadata: object = None,
    ) -> torch.Tensor:
        """Return a tensor that brings its element type along."""
        del hooks, metadata
        if not isinstance(storage, Storage) or not isinstance(dtype, self._torch.dtype):
            raise Unreadable("is damaged: a tensor has no storage or element type")
        return self._over(storage, dtype, offset, size, stride, requires_grad)

    def _over(
        self,
        storage: Storage,
        dtype: torch.dtype,
        offset: object,
        size: object,
        stride: object,
        requires_grad: object,
    ) -> torch.Tensor:
        """Return a tensor over bytes that are all inside its storage."""
        size, stride = _lengths(size, "a tensor's shape"), _lengths(stride, "a tensor's stride")
        count = storage.count * storage.dtype.itemsize // dtype.itemsize
        if len(size) != len(stride) or type(offset) is not int or not 0 <= offset <= count:
            raise Unreadable("is damaged: a tensor lies outside its storage")
        elements = math.prod(size)
        # The last element lies this far from the first; strides are never negative.
        reach = sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if elements and offset + reach >= count:
            raise Unreadable("is damaged: a tensor lies outside its storage")
        self._left -= elements * dtype.itemsize
        if self._left < 0:
            raise Unreadable("holds tensors that repeat far more elements than it stores; it was not read")
        first = storage.first * storage.dtype.itemsize // dtype.itemsize
        tensor = self._torch.empty(0, dtype=dtype)
        tensor.set_(storage.data.untyped_storage(), first + offset, size, stride)
        if dtype == self._torch.bool and storage.is_untyped:
            tensor = tensor.view(self._torch.uint8) != 0
        return tensor.requires_grad_(self._takes_grad(dtype, requires_grad))  # type: ignore[no-any-return]

    def _takes_grad(self, dtype: Any, requires_grad: object) -> bool:  # noqa: ANN401  # a torch.dtype
        return requires_grad is True and (dtype.is_floating_point or dtype.is_complex)

    def _parameter(self, data: object, requires_grad: object, hooks: object = None) -> torch.Tensor:
        del hooks
        if not isinstance(data, self._torch.Tensor):
            raise Unreadable("is damaged: a parameter is no tensor")
        return self._torch.nn.Parameter(data, self._takes_grad(data.dtype, requires_grad))  # type: ignore[no-any-return]

    def _size(self, lengths: object = ()) -> torch.Size:
        return self._torch.Size(_lengths(lengths, "a shape"))  # type: ignore[no-any-return]

    def _device(self, kind: object, index: object = None) -> Any:  # noqa: ANN401  # a torch.device
        known = isinstance(kind, str) and kind in _DEVICES
        if not known or not (index is None or (type(index) is int and 0 <= index < 128)):
            raise Unreadable(f"is damaged: {shown(kind)} is no device")
        return self._torch.device(kind) if index is None else self._torch.device(kind, index)


def _lengths(values: object, what: str) -> tuple[int, ...]:
    return checked_lengths(tuple(values) if isinstance(values, list | tuple) else values, what)


def _view(storage: Storage, view: object) -> Storage:
    """Return the part of a storage that (key, first, count) describes."""
    if not isinstance(view, tuple) or len(view) != 3 or not all(type(number) is int for number in view[1:]):
        raise Unreadable("is damaged: its pickle refers to a storage otherwise than PyTorch does")
    _, first, count = view
    if not (first >= 0 and count >= 0 and first + count <= storage.count):
        raise Unreadable("is damaged: a storage lies outside the one that it is part of")
    return Storage(storage.data, storage.dtype, storage.first + first, count, storage.is_untyped)
