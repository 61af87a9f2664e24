"""``refbench train --recipe``: trainings by name, through the command itself."""

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from refbench.cli.train import command
from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.recipes import read_recipe, recipes
from refbench.engine.inputs.weights import find_weights
from refbench.registry.registry import load_registry
from refbench.training.wild import WildSample, sample_path, write_sample
from refbench.weights.weights_folder import is_weights_folder

MODEL = {"depth": 2, "start_kernel": 4, "optional_images": True, "hole_channel": True, "uncertainty": True}


@pytest.fixture
def cache(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "samples"
    folder.mkdir()
    for seed in (1, 2):
        heights = rng.normal(40, 2, (16, 16)).astype(np.float32)
        images = rng.normal(0, 1, (2, 16, 16)).astype(np.float16)
        mask = heights > 41
        write_sample(sample_path(folder, seed, 0), WildSample(heights + 0.5, heights, images, 0.5, mask, ~mask))
    return folder


def run(*arguments):
    return CliRunner().invoke(command, [str(part) for part in arguments])


def test_a_recipe_trains_and_goes_on(tmp_path, cache):
    pytest.importorskip("torch")
    wild = {"cache": str(cache), "seeds": [1, 2], "tile_size": 16, "batch_size": 2, "precision": "float32"}
    content = {"method": "resdepth", "steps": 2, "config": {"model": MODEL, "wild": wild}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    done = run("--recipe", tmp_path / "mine.yaml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert is_weights_folder(tmp_path / "out" / "weights")
    assert "steps: 2" in done.output
    more = run("--recipe", tmp_path / "mine.yaml", "--steps", 3, "--resume", "--out", tmp_path / "out")
    assert more.exit_code == 0 and "steps: 3" in more.output, more.output


@pytest.mark.parametrize("arguments", [(), ("--method", "resdepth", "--recipe", "resdepth-wild")])
def test_either_a_method_or_a_recipe(tmp_path, arguments):
    failed = run(*arguments, "--out", tmp_path / "out")
    assert isinstance(failed.exception, InputError) and "either --method or --recipe" in str(failed.exception)


@pytest.mark.parametrize("name", recipes())
def test_shipped_recipes_fit_their_methods(name):
    recipe = read_recipe(name)
    record = load_registry().methods.get(recipe.method)
    assert record.trainable
    load_config(record, None, recipe.config)
    assert recipe.weights is None or find_weights(record, recipe.weights) is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("method: resdepth\nstps: 4\n", "did you mean steps"),
        ("steps: 4\n", "method: field required"),
        ("method: resdepth\nsteps: 0\n", "at least 1"),
        ("method: [a]\n", "valid string"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, content, says):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(ConfigError, match=says):
        read_recipe(str(tmp_path / "bad.yaml"))


def test_an_unknown_recipe_names_those_that_are_there():
    with pytest.raises(MissingFileError, match="resdepth-wild"):
        read_recipe("nothing-of-the-kind")
