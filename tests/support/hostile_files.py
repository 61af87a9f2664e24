"""Files made to harm their reader: pickles put together opcode by opcode, archives that lie, real ones with damage."""

import collections
import io
import pickle
import random
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import torch

FOUR = np.arange(4, dtype="f4").tobytes()
MAGIC = 0x1950A86A20F9469CFC6C
NAMES = [
    *("posix system", "os system", "builtins eval", "builtins exec", "__builtin__ getattr", "builtins getattr"),
    *(
        "builtins __import__",
        "builtins open",
        "builtins bytearray",
        "builtins bytes",
        "builtins range",
        "builtins list",
    ),
    *("builtins dict", "builtins set", "builtins frozenset", "builtins tuple", "builtins int", "builtins str"),
    *("builtins object", "builtins type", "builtins complex", "builtins memoryview", "builtins map"),
    *("collections OrderedDict", "collections Counter", "collections defaultdict", "collections deque"),
    *("copyreg _reconstructor", "copy_reg _reconstructor", "copyreg __newobj__", "copyreg __newobj_ex__"),
    *("copyreg add_extension", "functools partial", "functools reduce", "operator attrgetter", "types FunctionType"),
    *(
        "types CodeType",
        "numpy ndarray",
        "numpy dtype",
        "numpy memmap",
        "numpy fromfile",
        "numpy load",
        "numpy float64",
    ),
    *("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy._core.multiarray scalar"),
    *("numpy._core.numeric _frombuffer", "numpy.core.numeric _frombuffer", "_codecs encode", "_codecs decode"),
    *("torch Size", "torch device", "torch float32", "torch bool", "torch FloatStorage", "torch BoolStorage"),
    *("torch QInt8Storage", "torch load", "torch save", "torch.storage UntypedStorage", "torch.hub load"),
    *("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3"),
    *("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state"),
    *("torch._utils _rebuild_qtensor", "torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_nested_tensor"),
    *("torch._tensor _rebuild_from_type_v2", "torch.storage _load_from_bytes", "torch.jit load", "torch.nn Linear"),
    *("argparse Namespace", "datetime date", "pathlib PosixPath", "enum Enum", "some.where Thing", "some.where thing"),
    *("torch os.system", "antigravity x", "this x", "refbench.weights.checkpoint read_checkpoint"),
]
SPECS = [
    "f4",
    "f8",
    "i8",
    "u1",
    "b1",
    "c16",
    "f2",
    "O",
    "O8",
    "V8",
    "S8",
    "U2",
    "M8",
    "M8[ns]",
    "m8",
    "f16",
    "i4,O",
    "|O",
]


class Raw(bytes):
    """Opcodes that leave one value on the stack."""


def code(value):
    """Return opcodes of a plain value; ``Raw`` parts are taken as they are."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(code, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(code, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(code(part) for pair in value.items() for part in pair) + b"u"
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    size = (value.bit_length() >> 3) + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def name(text):
    module, _, attribute = text.partition(" ")
    return Raw(f"c{module}\n{attribute}\n".encode())


def call(function, *args):
    return Raw(
        (name(function) if isinstance(function, str) and not isinstance(function, Raw) else function)
        + code(args)
        + b"R"
    )


def build(target, state):
    return Raw(target + code(state) + b"b")


def file_of(value):
    return b"\x80\x04" + code(value) + b"."


def dtype(spec="f4", state=(3, "<", None, None, None, -1, -1, 0)):
    made = call("numpy dtype", spec, False, True)
    return made if state is None else build(made, state)


def array(kind, shape, data, version=1, fortran=False):
    empty = call("numpy._core.multiarray _reconstruct", name("numpy ndarray"), (0,), b"b")
    return build(empty, (version, shape, kind, fortran, data))


def storage(kind="torch FloatStorage", key="0", count=4, word="storage", view=()):
    return Raw(code((word, name(kind), key, "cpu", count, *view)) + b"Q")


def tensor(over, offset=0, size=(2, 2), stride=(2, 1), grad=False):
    return call("torch._utils _rebuild_tensor_v2", over, offset, size, stride, grad, call("collections OrderedDict"))


def archive(pickled, members=None, compression=zipfile.ZIP_STORED, more=()):
    """Return an archive of PyTorch; ``more`` are further members."""
    held = io.BytesIO()
    members = {"0": FOUR} if members is None else members
    with zipfile.ZipFile(held, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice
        file.writestr("a/data.pkl", pickled)
        for key, data in [*((f"a/data/{key}", data) for key, data in members.items()), *more]:
            file.writestr(key, data)
    return held.getvalue()


def stream(pickled, storages=(("0", 4, FOUR),), magic=MAGIC, version=1001):
    """Return a file of PyTorch's older format; storages are (key, count, bytes)."""
    start = b"".join(pickle.dumps(part, 2) for part in (magic, version, {"little_endian": True}))
    end = pickle.dumps([key for key, _, _ in storages], 2)
    return start + pickled + end + b"".join(struct.pack("<q", count) + data for _, count, data in storages)


def tar(*members):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as file:
        for info in members:
            file.addfile(info, io.BytesIO(b"x" * info.size))
    return held.getvalue()


class Thing:
    def __init__(self):
        self.method, self.table = self.act, {"x": [1, (2, 3)]}

    def act(self):
        return 1


def real_files():
    """Return whole files as PyTorch and pickle write them."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    content = {
        "model": net.state_dict(),
        "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
        "array": np.arange(6, dtype=">f4").reshape(2, 3),
        "scalar": np.float64(2),
        "thing": Thing(),
        "counts": collections.Counter("aab"),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "wide": torch.ones(1).expand(5, 5),
    }
    plain = {key: content[key] for key in ("array", "scalar", "thing", "counts")}
    files = [pickle.dumps(plain, protocol) for protocol in range(6)]
    for value in (content, net):
        for zipped in (True, False):
            held = io.BytesIO()
            torch.save(value, held, _use_new_zipfile_serialization=zipped)
            files.append(held.getvalue())
    return files


class Fuzzer:
    """Makes one file after another, the same ones for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.real = real_files()

    def file(self, index):
        makers = [self.program, self.program, self.arrays, self.tensors, self.older, self.damaged, self.damaged]
        makers += [self.archives, self.bombs, self.calls, self.soup]
        return makers[index % len(makers)]()

    def number(self):
        r = self.random
        return r.choice(
            [0, 1, 2, 3, 4, 5, 8, -1, -4, 255, 2**31, 2**40, 2**62, 2**63, -(2**63), 2**64, 8 * 10**9, 10**300]
        )

    def value(self, depth=3):
        """Return a random value, possibly of calls of names and with states."""
        r = self.random
        leaf = [
            self.number, r.random, lambda: None, lambda: r.random() < 0.5, lambda: "x" * r.randrange(5),
            lambda: r.randbytes(r.randrange(20)), lambda: name(r.choice(NAMES)), lambda: r.choice(SPECS),
            lambda: Raw(b"]"), lambda: storage(count=r.choice([0, 4, self.number()])),
            lambda: Raw(b"h" + bytes([r.randrange(6)])), lambda: self.any_dtype(),
        ]  # fmt: skip
        if depth == 0 or r.random() < 0.3:
            return r.choice(leaf)()
        parts = [self.value(depth - 1) for _ in range(r.randrange(4))]
        inner = [
            lambda: tuple(parts), lambda: list(parts), lambda: call(r.choice(NAMES), *parts),
            lambda: Raw(name(r.choice(NAMES)) + code(tuple(parts)) + r.choice([b"\x81", b"}\x92", b"R"])),
            lambda: Raw(b"(" + b"".join(map(code, [name(r.choice(NAMES)), *parts])) + b"o"),
            lambda: Raw(b"(" + b"".join(map(code, parts)) + b"i" + name(r.choice(NAMES))[1:]),
            lambda: Raw(code(self.value(depth - 1)) + code(self.value(depth - 1)) + b"b"),
            lambda: Raw(code(self.value(depth - 1)) + b"q" + bytes([r.randrange(6)])),
            lambda: Raw(b"}(" + b"".join(code(part) for p in parts for part in (p, p)) + b"u"),
            lambda: Raw(b"\x8f(" + b"".join(map(code, parts)) + r.choice([b"\x90", b"\x91"])),
            lambda: Raw(code(self.value(depth - 1)) + b"Q"),
            lambda: array(self.any_dtype(), tuple(parts), r.randbytes(8)),
            lambda: tensor(storage(), *parts[:1]),
        ]  # fmt: skip
        return r.choice(inner)()

    def any_dtype(self):
        r = self.random
        state = [3, "<", None, None, None, -1, -1, 0]
        if r.random() < 0.5:
            state[r.randrange(8)] = r.choice([4, "O", ">", ("a",), {"a": (name("numpy dtype"), 0)}, 8, 63, 27, None])
        return dtype(r.choice(SPECS), r.choice([None, tuple(state), ({}, {"x": 1})]))

    def wrapped(self, pickled):
        """Return a pickle as one of the three kinds of file."""
        return self.random.choice([lambda: pickled, lambda: archive(pickled), lambda: stream(pickled)])()

    def program(self):
        return self.wrapped(file_of({"x": Raw(code(self.value(5)))}))

    def calls(self):
        r = self.random
        return self.wrapped(file_of({"x": call(r.choice(NAMES), *[self.value(1) for _ in range(r.randrange(6))])}))

    def soup(self):
        """Return opcodes in any order."""
        r = self.random
        codes = b"(01254NaetudsblRcoi}])QJKMPGFILSVTUXB\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e"
        codes += b"\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98"
        return b"\x80\x04" + bytes(r.choice(codes) if r.random() < 0.8 else r.randrange(256) for _ in range(200)) + b"."

    def arrays(self):
        r = self.random
        data = r.choice([b"", r.randbytes(8), r.randbytes(16), "abcdefgh", bytearray, 7])
        data = call("builtins bytearray", self.number()) if data is bytearray else data
        shape = tuple(r.choice([0, 1, 2, 4, self.number()]) for _ in range(r.randrange(4)))
        made = [
            array(self.any_dtype(), shape, data),
            call("numpy._core.multiarray scalar", self.any_dtype(), data),
            call("numpy._core.numeric _frombuffer", data, self.any_dtype(), shape, r.choice(["C", "F", "K", 1])),
            call("numpy ndarray", shape, self.any_dtype(), data, 0, (self.number(),)),
            call("numpy._core.multiarray _reconstruct", name(r.choice(NAMES)), shape, data),
            array(dtype("f4"), [Raw(code(array(dtype("O", None), (1,), data)))], data),
        ]
        return self.wrapped(file_of({"x": r.choice(made)}))

    def tensors(self):
        r = self.random
        kind = r.choice([n for n in NAMES if "Storage" in n])
        numbers = [r.choice([0, 1, 2, 4, self.number()]) for _ in range(6)]
        over = storage(
            kind, r.choice(["0", "1", "../0", 7]), r.choice([4, 4, numbers[0]]), r.choice(["storage", "module"])
        )
        made = tensor(over, numbers[1], tuple(numbers[2:4]), tuple(numbers[4:]), r.random() < 0.5)
        if r.random() < 0.3:
            made = call("torch._utils _rebuild_parameter", made, True, self.value(1))
        return archive(file_of({"x": made, "y": [made] * r.randrange(9)}), {"0": r.randbytes(r.choice([0, 4, 16]))})

    def older(self):
        r = self.random
        size = r.choice([4, 4, self.number() % 2**63])
        view = r.choice([(), (None,), (("v", r.choice([0, 2, -1, 2**40]), r.choice([2, 5, -1])),)])
        made = tensor(
            storage(count=size, view=view), r.choice([0, 1, 5]), (r.choice([1, 2, 2**31]),), (r.choice([0, 1, -1]),)
        )
        storages = [("0", r.choice([4, size]), r.randbytes(16))] * r.choice([0, 1, 1, 1, 2])
        return stream(file_of({"x": made}), storages, r.choice([MAGIC, MAGIC, 1]), r.choice([1001, 1001, 5]))

    def damaged(self):
        r = self.random
        data = bytearray(r.choice(self.real))
        for _ in range(r.choice([0, 1, 1, 3, 10])):
            data[r.randrange(len(data))] = r.randrange(256)
        if r.random() < 0.4:
            at = r.randrange(len(data))
            data[at : at + r.randrange(20)] = r.randbytes(r.randrange(20))
        return bytes(data[: r.randrange(len(data))] if r.random() < 0.3 else data)

    def archives(self):
        r = self.random
        good = file_of({"x": tensor(storage())})
        sound = bytearray(archive(good))
        field = sound.rindex(b"PK\x01\x02") + r.choice([8, 10, 16, 20, 24, 28, 32, 42])
        sound[field : field + 4] = struct.pack("<I", self.number() % 2**32)
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = (
            r.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]),
            "/etc/passwd",
        )
        return r.choice([
            lambda: bytes(sound),
            lambda: archive(good, {"0": bytes(2**22)}, zipfile.ZIP_DEFLATED),
            lambda: archive(good, more=[("a/data.pkl", file_of({"x": 2}))]),
            lambda: archive(good, more=[("b/data.pkl", file_of({"x": 2}))]),
            lambda: archive(good, more=[("a/byteorder", b"big")]),
            lambda: archive(good, more=[("a/constants.pkl", b"")]),
            lambda: archive(good, {}),
            lambda: tar(link),
            lambda: tar(tarfile.TarInfo("tensors"), link),
        ])()  # fmt: skip

    def bombs(self):
        r = self.random
        many = r.choice([1000, 30_000])
        double = b"\x862" * 60
        return self.wrapped(r.choice([
            b"\x80\x04" + b"]" * many + b"a" * (many - 1) + b".",
            b"\x80\x04)" + b"\x85" * many + b".",
            b"\x80\x04}K\x01)" + b"\x85" * many + b"N" + b"s.",
            b"\x80\x04}K\x01" + b"}K\x01" * many + b"N" + b"s" * many + b"s.",
            b"\x80\x04NN" + double + b"\x86.",
            b"\x80\x04}NN" + double + b"\x86Ns.",
            b"\x80\x04" + b"\x8f" * many * 10 + b".",
            b"\x80\x04" + b"(" * many * 10 + b".",
            b"\x80\x04N" + b"\x94" * many * 10 + b".",
            b"\x80\x04\x8b" + struct.pack("<i", r.choice([-1, 2**31 - 1, 1000])) + bytes(1000) + b".",
            b"\x80\x04I" + b"9" * many + b"\n.",
            b"\x80\x04" + r.choice([b"X", b"B", b"T"]) + struct.pack("<I", 2**31 - 1) + b"x.",
            b"\x80\x04" + r.choice([b"\x8d", b"\x8e", b"\x96", b"\x95"]) + struct.pack("<Q", 2**40) + b"x.",
            b"\x80\x04S'" + b"\\x41" * many + b"'\n.",
            b"\x80\x04r\xff\xff\xff\xff.",
            file_of({"x": call("builtins bytearray", 8 * 10**9)}),
            file_of({"x": call("builtins list", call("builtins range", 10**12))}),
        ]))  # fmt: skip
