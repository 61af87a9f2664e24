import collections
import pickle
import types
from pathlib import Path

import pytest

from refbench.contracts.errors import MissingFileError, WeightsError
from refbench.weights import module_state
from refbench.weights.checkpoint import read_checkpoint
from refbench.weights.module_state import read_module_state

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")


class lower_case(torch.nn.Module):
    """Foreign networks name classes like functions."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.BatchNorm2d(3), None)
        self.table = torch.nn.Parameter(torch.arange(4.0), requires_grad=False)
        self.remark = Path("x")
        self.absent = torch.nn.Identity()


@pytest.fixture
def net():
    return torch.nn.ModuleDict({"a": lower_case(), "b": torch.nn.Linear(2, 1)})


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def check(found, net):
    expected = net.state_dict()
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_network_gives_its_state_dict(tmp_path, net, zipped, monkeypatch):
    path = saved(tmp_path / "net.pt", net, _use_new_zipfile_serialization=zipped)
    # Its classes are not there where the file is read.
    monkeypatch.delitem(globals(), "lower_case")
    check(read_module_state(path), net)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_returned_as_it_is(tmp_path, net, zipped):
    check(read_module_state(saved(tmp_path / "s.pt", net.state_dict(), _use_new_zipfile_serialization=zipped)), net)


def test_a_network_is_still_no_dictionary_for_the_reader_of_checkpoints(tmp_path, net):
    with pytest.raises(WeightsError, match=r"net\.pt"):
        read_checkpoint(saved(tmp_path / "net.pt", net))
    with pytest.raises(WeightsError, match="not a dictionary"):
        read_checkpoint(saved(tmp_path / "linear.pt", net["b"]))


class Call:
    """A pickle of it asks for a call when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(path):
    Path(path).touch()


class Evil(torch.nn.Module):
    """A network with a call inside."""

    def __init__(self, call):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.call = call


ATTACKS = {
    "eval": lambda mark: Call(eval, f"open({str(mark)!r}, 'w')"),
    "open": lambda mark: Call(open, str(mark), "w"),
    "own function": lambda mark: Call(touch, str(mark)),
    "torch function": lambda mark: Call(torch.save, {}, str(mark)),
    "torch loader": lambda mark: Call(torch.hub.load, "x/y", "z"),
    "getattr": lambda mark: Call(getattr, Call(dict), "keys"),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_network_that_wants_to_run_code_is_refused_and_not_run(tmp_path, attack, zipped):
    mark = tmp_path / "was-run"
    path = saved(tmp_path / "evil.pt", Evil(ATTACKS[attack](mark)), _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"wants to run \S+") as caught:
        read_module_state(path)
    assert str(path) in str(caught.value) and not mark.exists()


def test_tables_that_hold_no_tensors_are_refused(tmp_path):
    net = torch.nn.Linear(1, 1)
    net._parameters["weight"] = "no tensor"
    with pytest.raises(WeightsError, match="neither the tensors"):
        read_module_state(saved(tmp_path / "net.pt", net))


def test_a_network_that_holds_itself_is_refused(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))
    net._modules["again"] = net
    with pytest.raises(WeightsError, match="nests"):
        read_module_state(saved(tmp_path / "net.pt", net))


def test_a_network_of_too_many_parts_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module_state, "MAX_MODULES", 1000)
    net = torch.nn.Linear(1, 1)
    for _ in range(20):  # 2^20 ways through 20 modules
        net = torch.nn.Sequential(net, net)
    with pytest.raises(WeightsError, match="nests"):
        read_module_state(saved(tmp_path / "net.pt", net))


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, collections.OrderedDict(), types.SimpleNamespace(a=1)])
def test_what_holds_no_tensors_is_refused(tmp_path, content):
    with pytest.raises(WeightsError, match="neither"):
        read_module_state(saved(tmp_path / "x.pt", content))


def test_damage_and_absence_are_told(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickle.dumps([1])[:-2])
    with pytest.raises(WeightsError, match=r"x\.pt"):
        read_module_state(tmp_path / "x.pt")
    with pytest.raises(MissingFileError, match=r"absent\.pt"):
        read_module_state(tmp_path / "absent.pt")
