import math
from pathlib import Path

import numpy as np
import pytest

import refbench_immpi
import refbench_implicity
import refbench_pix2pix
from refbench.contracts.errors import WeightsError
from refbench.weights.domain import Domain, bounds, read_domain
from refbench.weights.weights_folder import read_weights, write_weights

BUILT_IN = [
    folder
    for plugin in (refbench_immpi, refbench_implicity, refbench_pix2pix)
    for folder in sorted((Path(plugin.__file__).parent / "weights").iterdir())
    if folder.is_dir()
]


@pytest.mark.parametrize("folder", BUILT_IN, ids=lambda folder: f"{folder.parent.parent.name}-{folder.name}")
def test_built_in_weights_state_their_domain(folder):
    assert read_weights(folder).domain != Domain()


def test_a_domain_is_read_from_the_folder(tmp_path):
    meta = {"domain": {"density": [4, None], "contrast": [None, 0.5], "images": 3, "ndvi": True, "views": [2, 9]}}
    domain = write_weights(tmp_path / "w", {"a": np.zeros(1, np.float32)}, meta, "").domain
    assert domain == Domain(density=(4.0, None), contrast=(None, 0.5), images=3, ndvi=True, views=(2.0, 9.0))
    assert bounds(domain.density) == (4, math.inf) and bounds(domain.contrast) == (0, 0.5)


def test_the_one_pixel_size_of_a_training_is_a_domain():
    assert read_domain({"gsd": 2}, "f").gsd == pytest.approx((1.8, 2.2))
    for none in ({}, {"gsd": None}, {"gsd": "0.5 m"}, {"gsd": True}, {"gsd": -1.0}):
        assert read_domain(none, "f") == Domain()


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"noise": [2, 1]}, "noise"),
        ({"density": [-1, 3]}, "density"),
        ({"contrast": [math.nan, 1]}, "contrast"),
        ({"views": 3}, "views"),
        ({"images": -2}, "images"),
        ({"ndiv": True}, "did you mean ndvi"),
        (["gsd"], "list"),
    ],
)
def test_impossible_domains_are_one_sentence(stated, named):
    with pytest.raises(WeightsError, match=r"some/model\.yaml.*domain") as found:
        read_domain({"domain": stated}, "some/model.yaml")
    assert named in str(found.value)
