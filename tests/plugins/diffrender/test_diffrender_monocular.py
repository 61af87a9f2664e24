"""Initial depths from a monocular estimator."""

import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from block_scene import (  # noqa: E402
    COLS,
    ROWS,
    depth_of,
    views_of,
)

from refbench import InputError  # noqa: E402
from refbench.contracts.errors import MissingExtraError  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig  # noqa: E402
from refbench_diffrender.views import monocular  # noqa: E402

# --- an estimator -----------------------------------------------------------------------------------------------------


def test_a_missing_package_is_said(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(monocular.importlib.util, "find_spec", lambda n: None if n == "transformers" else real(n))
    with pytest.raises(MissingExtraError, match=r"transformers.*pip install 'refbench\[monocular\]'"):
        views_of(dsm=True, config=DiffrenderConfig(initial="monocular"))


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    """A tiny depth estimator with random weights, in a folder."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    torch.manual_seed(0)
    config = transformers.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, is_hybrid=False,
        use_bias_in_fusion_residual=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    transformers.DPTForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def test_an_estimator_gives_a_map_of_the_image_size(estimator):
    image = np.random.default_rng(0).random((ROWS, COLS, 3), np.float32)
    found = monocular.estimated_depth(image, estimator)
    assert found.shape == (ROWS, COLS) and found.dtype == np.float32 and found.std() > 0
    np.testing.assert_array_equal(found, monocular.estimated_depth(image, estimator))
    assert not np.array_equal(found, monocular.estimated_depth(image[::-1].copy(), estimator))


def test_an_estimate_is_aligned_to_the_scene(estimator, monkeypatch):
    monkeypatch.setattr(monocular, "estimated_depth", lambda image, name: (3 / depth_of(0) - 0.02).astype(np.float32))
    config = DiffrenderConfig(initial="monocular", estimator=estimator)
    one = views_of(config=config, dsm=True)[0]
    assert np.median(np.abs(one.depth - depth_of(0))[one.known]) < 0.05


def test_an_unknown_estimator_is_said(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("PIL")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded as a depth estimator") as caught:
        monocular.estimated_depth(np.zeros((8, 8, 3), np.float32), str(tmp_path))
    assert "\n" not in str(caught.value)
