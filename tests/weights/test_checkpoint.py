import collections
import datetime
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.weights.checkpoint import Stub, read_checkpoint

torch = pytest.importorskip("torch")


class Scheduler:
    """An object as old checkpoints hold it: with state, items and a bound method."""

    def __init__(self):
        self.state = {"step": 3}
        self.scale = self.step

    def step(self):
        return 1


class Items(dict):
    pass


CONTENT = {
    "model": collections.OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.ones(2, dtype=torch.int64)),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "loss": np.float64(0.25),
    "array": np.arange(4, dtype=np.float32),
    "counts": collections.defaultdict(int, x=1),
    "n_iter": 7,
}
OBJECTS = {"scheduler": Scheduler(), "items": Items(x=1), "day": datetime.date(2022, 9, 1), "path": Path("x")}


def write(path, content, kind):
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


def check(content):
    assert torch.equal(content["model"]["a"], CONTENT["model"]["a"])
    assert content["model"]["b"].dtype == torch.int64
    assert torch.equal(content["parameter"], torch.ones(2))
    assert content["loss"] == 0.25 and content["n_iter"] == 7
    assert np.array_equal(content["array"], CONTENT["array"])
    assert content["counts"]["x"] == 1


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_tensors_arrays_and_containers_come_back(tmp_path, kind):
    check(read_checkpoint(write(tmp_path / "c.pt", CONTENT, kind)))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_objects_become_stubs_and_the_rest_comes_back(tmp_path, kind):
    content = read_checkpoint(write(tmp_path / "c.pt", CONTENT | OBJECTS, kind))
    check(content)
    assert all(isinstance(content[name], Stub) for name in OBJECTS)


def test_a_plain_pickle_of_arrays_is_read(tmp_path):
    plain = {name: CONTENT[name] for name in ("loss", "array", "counts", "n_iter")} | OBJECTS
    content = read_checkpoint(write(tmp_path / "c.pkl", plain, "pickle"))
    assert np.array_equal(content["array"], CONTENT["array"])
    assert isinstance(content["scheduler"], Stub)


class Call:
    """A pickle of it asks for a call when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(path):
    Path(path).touch()


ATTACKS = {
    "system": lambda mark: Call(os.system, f"touch {mark}"),
    "eval": lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Call(open, str(mark), "w"),
    "getattr": lambda mark: Call(getattr, Call(dict), "keys"),
    "partial": lambda mark: Call(__import__("functools").partial, touch, str(mark)),
    "own function": lambda mark: Call(touch, str(mark)),
    "import": lambda mark: Call(__import__, "os"),
    "exec in numpy": lambda mark: Call(np.testing.suppress_warnings.__init__.__globals__["runstring"], str(mark), {}),
    "torch function": lambda mark: Call(torch.save, {}, str(mark)),
    "torch loader": lambda mark: Call(torch.hub.load, "x/y", "z"),
}


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_wants_to_run_code_is_refused_and_not_run(tmp_path, attack, kind):
    mark = tmp_path / "was-run"
    file = write(tmp_path / "evil.pt", {"model": {}, "x": ATTACKS[attack](mark)}, kind)
    with pytest.raises(WeightsError, match=r"wants to run \S+") as caught:
        read_checkpoint(file)
    assert str(file) in str(caught.value)
    assert not mark.exists()


def test_a_dotted_global_is_refused(tmp_path):
    # STACK_GLOBAL looks attributes up step by step: collections -> abc -> sys -> ...
    code = b"\x80\x04" + b"".join(b"\x8c" + struct.pack("B", len(part)) + part for part in (b"torch", b"os.system"))
    code += b"\x93\x8c\x04true\x85R."
    assert any(opcode.name == "STACK_GLOBAL" for opcode, _, _ in pickletools.genops(code))
    (tmp_path / "evil.pkl").write_bytes(code)
    with pytest.raises(WeightsError, match=r"torch\.os\.system"):
        read_checkpoint(tmp_path / "evil.pkl")


def test_a_pickle_cannot_alter_what_it_names(tmp_path):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    # GLOBAL _rebuild_tensor_v2, then BUILD with slot state {"__defaults__": ("changed",)}.
    code = b"ctorch._utils\n_rebuild_tensor_v2\n(N(dS'__defaults__'\n(S'changed'\ntstb."
    (tmp_path / "evil.pkl").write_bytes(code)
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "evil.pkl")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_checkpoint(tmp_path / "program.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04broken", b"\x80\x02}q\x00X\x05"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"c\.pt"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [[1, 2], Scheduler()])
def test_what_holds_no_mapping_is_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="dictionary"):
        read_checkpoint(write(tmp_path / "c.pt", content, "zip"))


def test_an_absent_file_is_missing(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.pt"):
        read_checkpoint(tmp_path / "absent.pt")
