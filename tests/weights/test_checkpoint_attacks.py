"""Known ways to harm a reader of checkpoints, each on its own; test_hostile_files.py tries mixtures of them."""

import copyreg
import struct
import tarfile
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hostile_files import (  # noqa: E402  # it needs torch
    Raw,
    archive,
    array,
    build,
    call,
    code,
    dtype,
    file_of,
    name,
    storage,
    stream,
    tar,
    tensor,
)

from refbench.contracts.errors import WeightsError  # noqa: E402
from refbench.weights.checkpoint import read_checkpoint, read_pickle  # noqa: E402
from refbench.weights.weights_folder import WeightsFolder  # noqa: E402

POINTER = struct.pack("<q", 0x41414141)
OBJECTS = dtype("O", None)


def stated(*state):
    return dtype("f8", state)


def code_of_table(keys):
    return Raw(code(dict.fromkeys(keys)))


def by_state(kind):
    return array(kind, (1,), POINTER)


PLAIN = {  # name -> value in a pickle, what the refusal says
    "object array": (by_state(OBJECTS), "element type 'O'"),
    "object array with size": (by_state(dtype("O8", (3, "|", None, None, None, -1, -1, 63))), "element type 'O8'"),
    "object scalar": (call("numpy.core.multiarray scalar", OBJECTS, POINTER), "element type 'O'"),
    "object buffer": (call("numpy.core.numeric _frombuffer", POINTER, OBJECTS, (1,), "C"), "element type 'O'"),
    "ndarray of a buffer": (call("numpy ndarray", (1,), dtype(), POINTER), "wants to run numpy.ndarray"),
    "ndarray made anew": (Raw(name("numpy ndarray") + b")\x81"), "wants to run numpy.ndarray"),
    "subclass of ndarray": (call("numpy.core.multiarray _reconstruct", name("numpy memmap"), (0,), b"b"), "memmap"),
    "void": (by_state(dtype("V8", None)), "element type 'V8'"),
    "fields by list": (by_state(call("numpy dtype", [("a", "O")])), "element type"),
    "fields by state": (by_state(stated(3, "<", None, ("a",), {"a": (OBJECTS, 0)}, 8, 8, 27)), "element type 'O'"),
    "fields of numbers": (by_state(stated(3, "<", None, ("a",), {"a": (dtype(), 0)}, 4, 4, 0)), "compound"),
    "sub-array": (by_state(stated(3, "<", (dtype(), (2,)), None, None, -1, -1, 0)), "compound"),
    "flags of objects": (by_state(stated(3, "<", None, None, None, -1, -1, 63)), "compound"),
    "element size": (by_state(stated(3, "<", None, None, None, 4096, -1, 0)), "compound"),
    "metadata": (by_state(stated(4, "<", None, None, None, -1, -1, 0, {"a": 1})), "compound"),
    "dates": (by_state(dtype("M8", (4, "<", None, None, None, -1, -1, 0, ({}, (b"s", 1, 1, 1))))), "element type 'M8'"),
    "byte order": (by_state(stated(3, "O", None, None, None, -1, -1, 0)), "compound"),
    "array that is too long": (array(dtype(), (2**40,), bytes(16)), "bytes has 16"),
    "array of negative length": (array(dtype(), (-4,), bytes(16)), "no tuple of whole numbers"),
    "array of many axes": (array(dtype(), (1,) * 33, bytes(4)), "up to 32"),
    "array of a list": (array(dtype(), (1,), [1]), "no raw bytes"),
    "system by GLOBAL": (call("os system", "true"), r"wants to run os\.system"),
    "system by STACK_GLOBAL": (Raw(b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R"), r"wants to run posix\.system"),
    "system by INST": (Raw(b"(\x8c\x04trueios\nsystem\n"), r"wants to run os\.system"),
    "system by OBJ": (Raw(b"(cos\nsystem\n\x8c\x04trueo"), r"wants to run os\.system"),
    "system by NEWOBJ": (Raw(b"cos\nsystem\n\x8c\x04true\x85\x81"), r"wants to run os\.system"),
    "own function by INST": (Raw(b"(\x8c\x04trueisome.where\nthing\n"), r"some\.where\.thing"),
    "extension code": (Raw(b"\x82\xf0"), "copyreg"),
    "wide extension code": (Raw(b"\x84\xf0\x00\x00\x00"), "copyreg"),
    "getattr of a type": (call("builtins getattr", name("builtins dict"), "fromkeys"), r"builtins\.getattr"),
    "getattr of a function": (call("builtins getattr", name("some.where thing"), "__globals__"), r"builtins\.getattr"),
    "attribute of an array": (call("__builtin__ getattr", array(dtype(), (1,), bytes(4)), "tofile"), "getattr"),
    "getattr of a name that is no text": (call("builtins getattr", name("a B"), 1), r"builtins\.getattr"),
    "slots of a list": (Raw(b"]N}\x8c\x09__class__Ns\x86b"), "wants to alter a list"),
    "slots of a function": (Raw(name("torch._utils _rebuild_tensor_v2") + b"N}\x86b"), r"wants to alter torch\._utils"),
    "state of a class": (Raw(name("torch.nn Linear") + b"}b"), r"wants to alter torch\.nn\.Linear"),
    "call of a list": (Raw(b"])R"), "calls a list"),
    "item of a class": (Raw(name("torch.nn Linear") + b"NNs"), "sets an item"),
    "item of a text": (Raw(b"\x8c\x01aNNs"), "sets an item"),
    "reconstructed dict": (call("copyreg _reconstructor", name("builtins dict"), name("builtins dict"), {}), "copyreg"),
    "large bytearray": (call("builtins bytearray", 8 * 10**9), r"builtins\.bytearray"),
    "large bytes": (call("builtins bytes", 8 * 10**9), r"builtins\.bytes"),
    "long list": (call("builtins list", call("builtins range", 10**12)), "wants to run"),
    "long whole number": (Raw(b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6), "of 1000000 bytes"),
    "many digits": (Raw(b"I" + b"9" * 5000 + b"\n"), "for a whole number"),
    "long text that is not there": (Raw(b"\x8d" + struct.pack("<Q", 2**40)), "ends in the middle"),
    "frame that is not there": (Raw(b"\x95" + struct.pack("<Q", 2**40) + b"N"), "ends in the middle"),
    "nested lists": (Raw(b"]" * 10**5 + b"a" * (10**5 - 1)), "nested deeper"),
    "nested tuples": (Raw(b")" + b"\x85" * 10**5), "nested deeper"),
    "nested keys": (Raw(b"})" + b"\x85" * 10**5 + b"Ns"), "a key that is nested"),
    "doubled tuples": (Raw(b"NN" + b"\x862" * 100 + b"\x86"), "shares its parts"),
    "doubled lists": (Raw(b"]" + b"q\x000](h\x00h\x00e" * 100), "shares its parts"),
    "doubled keys": (Raw(b"}NN" + b"\x862" * 100 + b"\x86Ns"), "a key that is nested"),
    "list in itself": (Raw(b"]q\x00h\x00a"), "holds itself"),
    "colliding keys": (code_of_table(range(10_001)), "as keys"),
    "many sets": (Raw(b"(" + b"\x8f" * 10**6 + b"t"), "far more memory"),
    "many marks": (Raw(b"N" + b"(" * 2 * 10**6), "far more memory"),
    "copies of a list": (Raw(b"](" + b"N" * 10**5 + b"eq\x000(" + b"cbuiltins\nset\nh\x00\x85R" * 30 + b"t"), "far"),
    "foreign reference": (storage(), "outside of it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLAIN)
def test_an_attack_by_a_pickle_is_refused(tmp_path, kind):
    value, reason = PLAIN[kind]
    path = tmp_path / "evil.pkl"
    path.write_bytes(file_of({"x": value}))
    for read in (read_checkpoint, read_pickle):
        with pytest.raises(WeightsError, match=reason) as caught:
            read(path)
        assert len(str(caught.value)) < 500


def with_tensor(over=None, **options):
    return file_of({"x": tensor(storage() if over is None else over, **options)})


def link(kind):
    info = tarfile.TarInfo("storages")
    info.type, info.linkname = kind, "/etc/passwd"
    return tar(info)


def renamed_member(data):
    """Point the second entry of an archive's directory at the first member, so that members overlap."""
    data = bytearray(data)
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = bytes(4)
    return bytes(data)


FILES = {
    "storage larger than its member": (archive(with_tensor(storage(count=10**9))), "missing or of another size"),
    "storage of a negative size": (archive(with_tensor(storage(count=-1))), "refers to a storage"),
    "storage that is missing": (archive(with_tensor(storage(key="../0"))), "missing or of another size"),
    "storage of two types": (
        archive(file_of({"x": [tensor(storage()), tensor(storage("torch IntStorage"))]})),
        "two types",
    ),
    "quantised storage": (archive(with_tensor(storage("torch QInt8Storage"))), "quantised"),
    "quantised tensor": (archive(file_of({"x": call("torch._utils _rebuild_qtensor", storage())})), "quantised"),
    "sparse tensor": (archive(file_of({"x": call("torch._utils _rebuild_sparse_tensor", 1, 2)})), "sparse"),
    "negative stride": (archive(with_tensor(stride=(-2, 1))), "no tuple of whole numbers"),
    "negative offset": (archive(with_tensor(offset=-1)), "outside its storage"),
    "offset beyond": (archive(with_tensor(offset=1)), "outside its storage"),
    "shape beyond": (archive(with_tensor(size=(3, 2))), "outside its storage"),
    "stride beyond": (archive(with_tensor(stride=(3, 1))), "outside its storage"),
    "stride that overflows": (archive(with_tensor(stride=(2**63, 1))), "no tuple of whole numbers"),
    "shape that overflows": (archive(with_tensor(size=(2**40, 2**40), stride=(0, 0))), "repeat far more"),
    "expanded beyond all memory": (archive(with_tensor(size=(10**9, 10), stride=(0, 0))), "repeat far more"),
    "tensor of no storage": (archive(file_of({"x": tensor(7)})), "has no storage"),
    "compressed": (archive(with_tensor(), {"0": bytes(10**7)}, zipfile.ZIP_DEFLATED), "compressed members"),
    "two pickles of one name": (archive(with_tensor(), more=[("a/data.pkl", b"N.")]), "two members of one name"),
    "two pickles": (archive(with_tensor(), more=[("b/data.pkl", b"N.")]), "2 data.pkl"),
    "big-endian": (archive(with_tensor(), more=[("a/byteorder", b"big")]), "big-endian"),
    "overlapping members": (renamed_member(archive(with_tensor())), "checksum|outside|damaged"),
    "older: storage that is not there": (stream(with_tensor(storage(count=2**40))), "too short"),
    "older: size that differs": (stream(with_tensor(), [("0", 5, bytes(16))]), "another size"),
    "older: no bytes": (stream(with_tensor(), [("0", 4, b"")]), "another size"),
    "older: other keys": (stream(with_tensor(), [("1", 4, bytes(16))]), "keys of its storages"),
    "older: keys twice": (stream(with_tensor(), [("0", 4, bytes(16))] * 2), "keys of its storages"),
    "older: view beyond": (stream(with_tensor(storage(view=(("v", 1, 4),)))), "outside the one"),
    "older: another version": (stream(with_tensor(), version=1), "of version 1"),
    "tar with a symlink": (link(tarfile.SYMTYPE), "tar archive"),
    "tar with a device": (link(tarfile.CHRTYPE), "tar archive"),
    "tar with a hard link": (link(tarfile.LNKTYPE), "tar archive"),
}


@pytest.mark.parametrize("kind", FILES)
def test_an_attack_by_a_file_of_torch_is_refused(tmp_path, kind):
    content, reason = FILES[kind]
    (tmp_path / "evil.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        read_checkpoint(tmp_path / "evil.pt")


@pytest.mark.parametrize("pack", [archive, stream])
def test_the_sound_file_beside_the_attacks_is_read(tmp_path, pack):
    (tmp_path / "good.pt").write_bytes(pack(with_tensor(offset=1, size=(3, 2), stride=(1, 0), grad=True)))
    found = read_checkpoint(tmp_path / "good.pt")["x"]
    assert found.tolist() == [[1, 1], [2, 2], [3, 3]] and found.requires_grad
    big = dtype("i2", (3, ">", None, None, None, -1, -1, 0))
    (tmp_path / "good.pkl").write_bytes(file_of({"x": array(big, (2,), b"\0\1\0\2")}))
    assert read_pickle(tmp_path / "good.pkl")["x"].tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_truth_values_are_none_or_one(tmp_path, kind):
    raw = bytes([0, 1, 2, 255])
    content = {
        "torch": archive(with_tensor(storage("torch BoolStorage")), {"0": raw}),
        "numpy": file_of({"x": array(dtype("b1", (3, "|", None, None, None, -1, -1, 0)), (2, 2), raw)}),
    }[kind]
    (tmp_path / "x").write_bytes(content)
    found = np.asarray(read_checkpoint(tmp_path / "x")["x"])
    assert found.view(np.uint8).tolist() == [[0, 1], [1, 1]]


def test_an_extension_code_that_is_registered_is_not_run(tmp_path):
    copyreg.add_extension("os", "getcwd", 240)
    try:
        (tmp_path / "x").write_bytes(b"\x80\x04\x82\xf0)R.")
        with pytest.raises(WeightsError, match="copyreg"):
            read_checkpoint(tmp_path / "x")
    finally:
        copyreg.remove_extension("os", "getcwd", 240)


def test_flipped_bits_of_tensors_are_noticed(tmp_path):
    torch.save({"a": torch.ones(100)}, tmp_path / "x.pt")
    data = bytearray((tmp_path / "x.pt").read_bytes())
    data[data.index(struct.pack("<4f", 1, 1, 1, 1)) + 8] ^= 1
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(WeightsError, match="checksum"):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "bool", "complex64", "uint16", "float64", "int8"])
@pytest.mark.parametrize("zipped", [True, False])
def test_plain_element_types_come_back(tmp_path, dtype, zipped):
    tensor = torch.tensor([[0, 1], [2, 3]]).to(getattr(torch, dtype)).T
    torch.save(
        {"a": tensor, "none": tensor[:0], "one": tensor[0, 0]}, tmp_path / "x", _use_new_zipfile_serialization=zipped
    )
    found = read_checkpoint(tmp_path / "x")
    assert found["a"].dtype == tensor.dtype and found["a"].stride() == tensor.stride()
    assert torch.equal(found["a"], tensor) and found["none"].shape == (0, 2) and found["one"] == tensor[0, 0]


def test_a_header_longer_than_its_file_is_refused(tmp_path):
    for length in (2**40, 2**63):
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
        with pytest.raises(WeightsError, match="header"):
            WeightsFolder(tmp_path, {}).tensors()


def test_old_text_and_numbers_are_read(tmp_path):
    old = (
        b"}(S'a\\x41\\n'\nL12L\nV\\u0100b\nF0.5\nU\x02\xe9bI01\nS\"it's\"\n"
        + build(Raw(b"(icollections\nOrderedDict\n"), {"_metadata": 1})
        + b"u."
    )
    (tmp_path / "x").write_bytes(old)
    assert read_pickle(tmp_path / "x") == {"aA\n": 12, "\u0100b": 0.5, "\xe9b": True, "it's": {}}
