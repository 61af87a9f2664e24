import subprocess
import sys
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from refbench.contracts.errors import MissingFileError, WeightsError  # noqa: E402
from refbench.training.learnt import (  # noqa: E402
    StoredModel,
    Trained,
    filled,
    first_network,
    for_fewer_inputs,
    is_stored_folder,
    read_stored,
)
from refbench.weights.weights_folder import read_weights  # noqa: E402


@dataclass(frozen=True)
class Shape:
    inputs: int
    outputs: int = 1


def trained(net, **meta):
    known = {"shape": {"inputs": net.in_features, "outputs": net.out_features}, **meta}
    return Trained("line", net.state_dict(), known, {"steps": 3}, "# A line\n")


def test_what_was_learnt_comes_back(tmp_path):
    net = torch.nn.Linear(3, 1)
    trained(net, gsd=0.5).save(tmp_path / "w")
    stored = read_stored(tmp_path / "w" / "model.safetensors", "line", "shape", Shape)
    assert stored.path == tmp_path / "w" and stored.model == Shape(3) and stored.facts("gsd", "tile") == {"gsd": 0.5}
    again = filled(lambda: torch.nn.Linear(stored.model.inputs, stored.model.outputs), stored)
    assert not again.training
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again.parameters(), net.parameters(), strict=True))
    folder = read_weights(tmp_path / "w")
    assert list(folder.meta) == ["refbench_weights", "method", "shape", "gsd", "provenance"]
    assert folder.meta["provenance"] == {"steps": 3} and folder.card == "# A line\n"


def test_half_precision_is_read_as_float32_and_whole_numbers_stay(tmp_path):
    net = torch.nn.BatchNorm1d(4)
    Trained("norm", net.state_dict(), {"shape": {"inputs": 4}}, {}, "").save(tmp_path / "w", half=True)
    stored = read_stored(tmp_path / "w", "norm", "shape", Shape)
    assert stored.tensors["weight"].dtype == torch.float32
    assert stored.tensors["num_batches_tracked"].dtype == torch.int64
    assert read_weights(tmp_path / "w").tensors()["weight"].dtype == "float16"


def test_foreign_and_damaged_weights_are_one_sentence(tmp_path):
    trained(torch.nn.Linear(3, 1)).save(tmp_path / "w")
    with pytest.raises(WeightsError, match="holds weights of line, not of curve"):
        read_stored(tmp_path / "w", "curve", "shape", Shape)
    with pytest.raises(WeightsError, match=r"model\.yaml: network"):
        read_stored(tmp_path / "w", "line", "network", Shape)
    with pytest.raises(MissingFileError, match="no weights folder"):
        read_stored(tmp_path, "line", "shape", Shape)
    stored = read_stored(tmp_path / "w", "line", "shape", Shape)
    with pytest.raises(WeightsError, match=r"weight is \[1, 3\], the network's \[1, 2\]"):
        filled(lambda: torch.nn.Linear(2, 1), stored)
    assert is_stored_folder(tmp_path / "w") and not is_stored_folder(tmp_path)


def test_weights_for_fewer_inputs_lie_beside_or_are_built_in(tmp_path):
    for place in ("own/stereo", "own/0", "package/mono", "package/0"):
        trained(torch.nn.Linear(3, 1)).save(tmp_path / place)
    names, built_in = ("mono", "0"), tmp_path / "package"
    found = list(for_fewer_inputs(tmp_path / "own" / "stereo", built_in, names))
    assert [str(path.relative_to(tmp_path)) for path in found] == ["package/mono", "own/0", "package/0"]
    tensors = tmp_path / "own" / "stereo" / "model.safetensors"
    assert list(for_fewer_inputs(tensors, built_in, names)) == found
    assert list(for_fewer_inputs(None, built_in, ("0",))) == [built_in / "0"]


def test_a_training_begins_with_a_copy_or_with_the_seed():
    net = torch.nn.Linear(2, 1)
    copied = first_network(net, 0, lambda: torch.nn.Linear(2, 1))
    assert copied is not net and torch.equal(copied.weight, net.weight)
    first, again, other = (first_network(None, seed, lambda: torch.nn.Linear(2, 1)) for seed in (1, 1, 2))
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)


def test_stored_models_without_a_file_know_nothing(tmp_path):
    assert StoredModel(tmp_path, {}).facts("gsd") == {}


def test_the_package_is_light_and_gives_what_authors_need():
    code = (
        "import sys, refbench.training as t; assert 'torch' not in sys.modules; "
        "from refbench.training import TrainSettings; assert 'torch' not in sys.modules; "
        "print(*[getattr(t, name).__name__ for name in t.__all__ if name not in ('Precision', 'TrainPrecision')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"TrainTask", "Trained", "train", "optimise", "StateFile", "StepLog"} <= set(done.stdout.split())
