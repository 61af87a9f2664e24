"""Official run folders of ResDepth as weights."""

import os
import pickle

import pytest

torch = pytest.importorskip("torch")
from resdepth_blocks import official_run  # noqa: E402

from refbench.contracts.errors import InputError, WeightsError  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_resdepth.method import ResDepth  # noqa: E402
from refbench_resdepth.official.files import Files  # noqa: E402
from refbench_resdepth.weights import read_model  # noqa: E402


def test_run_folders_become_weights(tmp_path):
    net = official_run(tmp_path / "run", "geom-mono")
    facts = Files().import_weights(tmp_path / "run", tmp_path / "weights", {})
    assert facts["tile_size"] == 16 and facts["inputs"] == "geom-mono"
    meta = read_weights(tmp_path / "weights").meta
    assert meta["normalisation"] == {"dsm_std": 2.5, "image_rule": "fixed", "image_mean": 400.0, "image_std": 90.0}
    method = ResDepth(None, tmp_path / "weights")
    assert method.tile_size == 16
    for key, tensor in net.state_dict().items():
        assert torch.equal(method.net.state_dict()[key], tensor.float() if tensor.is_floating_point() else tensor)


def test_a_checkpoint_alone_asks_for_its_architecture(tmp_path):
    official_run(tmp_path / "run")
    (tmp_path / "run" / "model_config.json").unlink()
    with pytest.raises(InputError, match=r"model_config\.json"):
        Files().import_weights(tmp_path / "run" / "checkpoints" / "Model_best.pth", tmp_path / "weights", {})
    assert not (tmp_path / "weights").exists()


def test_another_architecture_is_named(tmp_path):
    official_run(tmp_path / "run", start_kernel=8)
    with pytest.raises(WeightsError, match=r"encoder\.0\.0\.0\.weight is \[4, 1, 3, 3\], the network's \[8, 1, 3, 3\]"):
        ResDepth(None, tmp_path / "run")


class Harm:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_pickles_that_want_to_run_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    official_run(tmp_path / "run")
    (tmp_path / "run" / "DSM_normalization_parameters.p").write_bytes(pickle.dumps({"std": Harm()}))
    with pytest.raises(WeightsError, match=r"wants to run (posix|nt)\.system"):
        read_model(tmp_path / "run")
    assert not (tmp_path / "harmed").exists()
