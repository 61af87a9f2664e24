"""The two file formats of PyTorch, opened here: archives (zip), and the older row of pickles and raw storages."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from refbench.weights.pickle_limits import Budget, Unreadable, shown
from refbench.weights.pickle_machine import Machine
from refbench.weights.pickle_opcodes import run
from refbench.weights.pickle_values import PickleValues
from refbench.weights.torch_tensors import TensorMaker

if TYPE_CHECKING:
    from typing import BinaryIO

    import torch

    from refbench.weights.stubs import Stub

ZIP_START = b"PK\x03\x04"
TAR_MARK, TAR_MARK_AT = b"ustar", 257
MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of the older format holds."""
STREAM_VERSION = 1001
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1


class Archive:
    """The members of a zip file, which are stored as they are and are never larger together than the file.

    Parameters
    ----------
    torch
        The package.
    file
        Opened for reading.
    size
        Bytes of the file.
    """

    def __init__(self, torch: Any, file: BinaryIO, size: int) -> None:  # noqa: ANN401  # a module
        self._torch, self._file, self._size = torch, file, size
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
        self._members = {info.filename: info for info in infos}
        if any(name.endswith("/constants.pkl") for name in self._members):
            raise Unreadable("is a TorchScript program, not a checkpoint; save its state_dict instead")
        if len(self._members) != len(infos):
            raise Unreadable("is damaged: its archive holds two members of one name")
        stored = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & _ENCRYPTED for info in infos)
        if not stored or sum(info.file_size for info in infos) > size:
            raise Unreadable("is an archive with compressed members, which PyTorch does not write; it was not read")
        pickles = [name for name in self._members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Unreadable(f"is an archive with {len(pickles)} data.pkl in it, no PyTorch checkpoint")
        self._root = pickles[0].removesuffix("data.pkl")

    def pickle(self) -> bytes:
        """Return the pickle. Raises ``Unreadable`` for a file of a big-endian machine."""
        order = self._root + "byteorder"
        if order in self._members and self._read(order).numpy().tobytes() != b"little":
            raise Unreadable("was written on a big-endian machine, which is not read")
        return self._read(self._root + "data.pkl").numpy().tobytes()

    def get(self, key: str, size: int) -> torch.Tensor:
        """Return the raw bytes of a storage, uint8 [size]."""
        name = f"{self._root}data/{key}"
        if name not in self._members or self._members[name].file_size != size:
            raise Unreadable(f"is damaged: its storage {shown(key)} is missing or of another size than its tensors say")
        return self._read(name)

    def _read(self, name: str) -> torch.Tensor:
        info = self._members[name]
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER)
        if len(header) != _LOCAL_HEADER or not header.startswith(ZIP_START):
            raise Unreadable(f"is damaged: {shown(name)} is not where its archive says")
        # The header ends with the lengths of the name and of what else stands between it and the data.
        self._file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), io.SEEK_CUR)
        data: torch.Tensor = read_bytes(self._torch, self._file, self._size, info.file_size)
        # PyTorch can be told to write no checksums; they are 0 then.
        if info.CRC and zlib.crc32(data.numpy().data) != info.CRC:
            raise Unreadable(f"is damaged: {shown(name)} has another checksum than its archive says")
        return data


def read_bytes(torch: Any, file: BinaryIO, file_size: int, size: int) -> Any:  # noqa: ANN401  # a tensor
    """Return the next bytes of a file, uint8 [size]; nothing is allocated before it is known that they are there."""
    if not 0 <= size <= file_size - file.tell():
        raise Unreadable("is damaged: it ends within its tensors")
    data = torch.empty(size, dtype=torch.uint8)
    fill(data, file)
    return data


def fill(data: torch.Tensor, file: BinaryIO) -> None:
    """Fill uint8 [size] with the next bytes of a file."""
    if data.numel() and file.readinto(data.numpy().data) != data.numel():  # type: ignore[attr-defined]
        raise Unreadable("is damaged: it ends within its tensors")


def read_archive(torch: Any, file: BinaryIO, size: int, stub: type[Stub]) -> Any:  # noqa: ANN401
    """Return what an archive of PyTorch holds. Raises ``Unreadable``."""
    archive = Archive(torch, file, size)
    tensors = TensorMaker(torch, size, archive)
    content = archive.pickle()
    budget = Budget(len(content), (torch.Tensor,))
    value = run(Machine(io.BytesIO(content), len(content), PickleValues(budget, stub, tensors), budget))
    _repair_truth_values(torch, tensors)
    return value


class _Announced:
    """Storages of the older format: their tensors come before their bytes."""

    def __init__(self, torch: Any, file_size: int) -> None:  # noqa: ANN401  # a module
        self._torch, self._left = torch, file_size

    def get(self, key: str, size: int) -> torch.Tensor:
        """Return uint8 [size], still to be filled."""
        self._left -= size
        if self._left < 0:
            raise Unreadable(f"is damaged: it is too short for its storage {shown(key)}")
        return self._torch.empty(size, dtype=self._torch.uint8)  # type: ignore[no-any-return]


def read_stream(torch: Any, file: BinaryIO, size: int, stub: type[Stub]) -> Any:  # noqa: ANN401
    """Return what a plain pickle, or a file of PyTorch's older format, holds.

    The older format is a row of pickles (a magic number, a version, facts of the machine, the content, the keys of
    the storages), and then for each key its number of elements as int64 and the elements.

    Raises
    ------
    Unreadable
        The file is neither, is damaged or asks for what no checkpoint needs.
    """
    budget = Budget(size, (torch.Tensor,))
    tensors = TensorMaker(torch, size, _Announced(torch, size))

    def following(values: PickleValues) -> Any:  # noqa: ANN401  # whatever was pickled
        return run(Machine(file, size, values, budget))

    # A plain pickle may name tensors' functions, too, but has no storages to give them.
    first = following(PickleValues(budget, stub, TensorMaker(torch, size, _Absent())))
    if type(first) is not int or first != MAGIC:
        return first
    plain = PickleValues(budget)
    if (version := following(plain)) != STREAM_VERSION:
        raise Unreadable(f"is of version {shown(version)} of PyTorch's older format; {STREAM_VERSION} is read")
    facts = following(plain)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Unreadable("was written on a big-endian machine, which is not read")
    value = following(PickleValues(budget, stub, tensors))
    _fill_storages(file, size, tensors, following(plain))
    _repair_truth_values(torch, tensors)
    return value


class _Absent:
    """No storages."""

    def get(self, key: str, size: int) -> torch.Tensor:
        """Refuse."""
        raise Unreadable("is a pickle that refers to data outside of it; it was not read")


def _fill_storages(file: BinaryIO, size: int, tensors: TensorMaker, keys: object) -> None:
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Unreadable("is damaged: the keys of its storages are no list of texts")
    if len(set(keys)) != len(keys) or set(keys) != tensors.storages.keys():
        raise Unreadable("is damaged: the keys of its storages are not those of its tensors")
    for key in keys:
        storage = tensors.storages[key]
        if int.from_bytes(file.read(8), "little") != storage.count or storage.data.numel() > size - file.tell():
            raise Unreadable(f"is damaged: its storage {shown(key)} is of another size than its tensors say")
        fill(storage.data, file)


def _repair_truth_values(torch: Any, tensors: TensorMaker) -> None:  # noqa: ANN401  # a module
    """Make every byte of truth values 0 or 1: any other is undefined for compiled code."""
    for storage in tensors.storages.values():
        if storage.dtype == torch.bool:
            storage.data.clamp_(max=1)
