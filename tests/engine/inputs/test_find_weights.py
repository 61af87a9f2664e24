import sys

import numpy as np
import pytest

from refbench.contracts.errors import InputError, MissingFileError, WeightsError
from refbench.engine.inputs.weights import find_weights, list_weights, user_weights_folder
from refbench.registry.records import MethodRecord
from refbench.weights.weights_folder import read_weights, write_weights

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.float32([1.5])}
META = {"architecture": "net", "gsd": 0.5, "normalisation": {"mean": 3.0}}


def put(folder, mark=0.0):
    write_weights(folder, {"mark": np.float32([mark])}, META, "# A card")
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A user folder and a package with built-in weights."""
    monkeypatch.setenv("REFBENCH_WEIGHTS", str(tmp_path / "user"))
    package = tmp_path / "site" / "weighty_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    yield tmp_path / "user" / "m", package / "weights"
    sys.modules.pop("weighty_package", None)


def record(*names):
    return MethodRecord("m", "a:B", "A test.", (), (), weights=names, weights_in="weighty_package:weights")


def test_written_weights_are_read_back(tmp_path):
    written = write_weights(tmp_path / "w", TENSORS, META, "# A card")
    read = read_weights(tmp_path / "w")
    assert read.meta == META == written.meta
    assert read.card == "# A card"
    tensors = read.tensors()
    assert set(tensors) == set(TENSORS)
    assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]
    assert read_weights(tmp_path / "w" / "model.safetensors").path == tmp_path / "w"


def test_transposed_arrays_are_written_as_they_look(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.array_equal(write_weights(tmp_path / "w", {"t": array}, {}, "").tensors()["t"], array)


def test_new_weights_replace_old_ones_whole(tmp_path):
    put(tmp_path / "w", 1.0)
    put(tmp_path / "w", 2.0)
    assert read_weights(tmp_path / "w").tensors()["mark"] == 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_weights_beside_which_other_files_lie_are_not_replaced(tmp_path):
    put(tmp_path / "w", 1.0)
    (tmp_path / "w" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"other files than weights, such as notes\.txt"):
        put(tmp_path / "w", 2.0)
    assert read_weights(tmp_path / "w").tensors()["mark"] == 1.0
    assert (tmp_path / "w" / "notes.txt").read_text() == "mine"


def test_a_failed_write_keeps_the_old_weights(tmp_path):
    put(tmp_path / "w", 1.0)
    with pytest.raises(Exception, match="cannot represent"):
        write_weights(tmp_path / "w", {"mark": np.float32([2.0])}, {"bad": object()}, "")
    assert read_weights(tmp_path / "w").tensors()["mark"] == 1.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="no weights folder"):
        put(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.parametrize(("file", "text"), [("model.yaml", "- 1"), ("model.yaml", "a: ["), ("model.safetensors", "x")])
def test_damaged_weights_are_refused(tmp_path, file, text):
    (put(tmp_path / "w") / file).write_text(text)
    with pytest.raises(WeightsError, match=file):
        read_weights(tmp_path / "w").tensors()


def test_an_incomplete_folder_is_no_weights_folder(tmp_path):
    (put(tmp_path / "w") / "model.yaml").unlink()
    with pytest.raises(MissingFileError, match=r"model\.yaml"):
        read_weights(tmp_path / "w")


def test_the_order_is_option_configuration_user_package(places, tmp_path):
    user, package = places
    method = record("small", "large")
    assert find_weights(method) is None
    put(package / "small")
    put(package / "large")
    assert find_weights(method) == package / "small"
    put(user / "small")
    assert find_weights(method) == user / "small"
    assert find_weights(method, None, "large") == package / "large"
    other = put(tmp_path / "other")
    assert find_weights(method, other, "large") == other
    assert find_weights(method, str(other / "model.safetensors")) == other / "model.safetensors"
    assert [(found.name, found.where) for found in list_weights(method)] == [("large", "package"), ("small", "user")]


def test_a_known_name_beats_a_folder_in_the_working_directory(places, tmp_path, monkeypatch):
    user, _ = places
    put(user / "small")
    (tmp_path / "here" / "small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert find_weights(record("small"), "small") == user / "small"
    assert find_weights(record("small"), "./small").resolve() == tmp_path / "here" / "small"


def test_a_method_without_built_in_names_takes_the_default_of_the_user(places):
    user, _ = places
    assert find_weights(record()) is None
    put(user / "default")
    assert find_weights(record()) == user / "default"


@pytest.mark.parametrize(("explicit", "configured"), [("smal", None), (None, "smal")])
def test_an_unknown_name_gets_a_near_miss(places, explicit, configured):
    user, _ = places
    put(user / "small")
    with pytest.raises(MissingFileError, match="did you mean small"):
        find_weights(record("small"), explicit, configured)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder differs by platform")
def test_the_users_folder_follows_the_platform(tmp_path):
    assert user_weights_folder({"XDG_DATA_HOME": "/data"}).as_posix() == "/data/refbench/weights"
    assert user_weights_folder({}).parts[-4:] == (".local", "share", "refbench", "weights")
    assert user_weights_folder({"REFBENCH_WEIGHTS": str(tmp_path)}) == tmp_path
