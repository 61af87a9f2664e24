"""What ``refbench new-*`` writes installs, is typed, passes its checks and runs at once."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from run_refbench import ONE_THREAD, command, refbench

import refbench as refbench_package
from refbench.contracts.errors import InputError
from refbench.formats.raster import write_dsm
from refbench.testing import scenes
from refbench.testing.scaffold import METHOD_KINDS, SUMMARIES, write_package

SHARED = {"README.md", "pyproject.toml", "PACKAGE/__init__.py", "PACKAGE/py.typed", "PACKAGE/record.py"}
OWN = {
    "tile": {"PACKAGE/method.py"},
    "scene": {"PACKAGE/method.py", "PACKAGE/config.py"},
    "depth": {"PACKAGE/method.py"},
    "learned": {f"PACKAGE/{name}.py" for name in ("method", "config", "network", "training")},
    "importer": {"PACKAGE/importer.py"},
    "assessor": {"PACKAGE/assessor.py"},
}
TIMEOUT_S = 400


@pytest.fixture(scope="module", params=list(OWN))
def made(request, tmp_path_factory):
    """Kind, name, folder and package of each kind of plugin."""
    out = tmp_path_factory.mktemp("made")
    name = f"fresh-{request.param}"
    return request.param, name, write_package(request.param, name, out), name.replace("-", "_")


def with_plugin(folder, package, *arguments, code=0, cwd=None):
    """Run refbench with the unpackaged plugin, named by a relative path."""
    return refbench(cwd or folder, *arguments, code=code, REFBENCH_PLUGINS=f"{package}/record.py")


def test_the_files_are_those_and_no_others(made):
    kind, _, folder, package = made
    found = {str(path.relative_to(folder)).replace(package, "PACKAGE") for path in folder.rglob("*") if path.is_file()}
    assert found == SHARED | OWN[kind] | {"tests/test_PACKAGE.py"}


def test_the_code_is_clean(made):
    _, _, folder, _ = made
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "E,F,I,D101,D102,ANN,UP,B", "--line-length", "120", "."],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    with warnings.catch_warnings(action="error", category=SyntaxWarning):
        for path in folder.rglob("*.py"):
            compile(path.read_text(), str(path), "exec")
    assert "{{" not in "".join(path.read_text() for path in folder.rglob("*.py"))


def test_a_tile_method_is_two_files_of_40_lines(tmp_path):
    package = write_package("tile", "fresh-lines", tmp_path) / "fresh_lines"
    assert sum(len((package / name).read_text().splitlines()) for name in ("record.py", "method.py")) <= 40


@pytest.mark.parametrize("kind", ["tile", "scene", "depth"])
def test_a_new_method_conforms_and_runs_unpackaged(kind, tmp_path):
    refbench(tmp_path, "new-method", f"new-{kind}", "--kind", kind)
    folder, package = tmp_path / f"new-{kind}", f"new_{kind}"
    assert " passed" in with_plugin(folder, package, "check", f"new-{kind}")
    if kind == "tile":
        with_plugin(folder, package, "run", "--method", "new-tile", "--out", tmp_path / "out")
        assert (tmp_path / "out" / "dsm.tif").is_file()


def test_a_new_importer_opens_its_folder(tmp_path):
    refbench(tmp_path, "new-importer", "new-layout")
    data = tmp_path / "data"
    data.mkdir()
    write_dsm(data / "new-layout.tif", scenes.noisy_dsm(scenes.utm_grid()))
    said = with_plugin(tmp_path / "new-layout", "new_layout", "run", data, "--method", "input", "--dry-run")
    assert "scene    data" in said


def test_a_new_assessor_scores(tmp_path):
    refbench(tmp_path, "new-assessor", "new-look")
    out = tmp_path / "out"
    with_plugin(tmp_path / "new-look", "new_look", "run", "--method", "input", "--assessor", "new-look", "--out", out)
    assert "roughness" in (out / "result.json").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("median", "is taken by"),
        ("My Method", "must be lower-case"),
        ("json", "already the name"),
        ("class", "already"),
    ],
)
def test_names_that_cannot_be_are_told(name, words, tmp_path):
    with pytest.raises(InputError, match=words):
        write_package("tile", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    assert "exists; give another" in refbench(tmp_path, "new-method", "mine", code=2)


def test_every_kind_has_a_summary_and_templates():
    assert set(SUMMARIES) == set(OWN) and set(METHOD_KINDS) < set(OWN)


@pytest.mark.slow
def test_it_installs_and_its_own_tests_pass(made, tmp_path):
    _, name, folder, package = made
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, str(folder)], check=True, timeout=TIMEOUT_S)
    environment = {**ONE_THREAD, "PYTHONPATH": str(site)}
    listed = subprocess.run(command("plugins"), env=environment, capture_output=True, text=True, check=True).stdout
    assert name in listed and "broken" not in listed
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(tests, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr
    typed = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"), package]
    # mypy does not see an editable installation: it is told where the sources of refbench are.
    sources = {**environment, "MYPYPATH": str(Path(refbench_package.__file__).parents[1])}
    done = subprocess.run(typed, env=sources, cwd=folder, capture_output=True, text=True, check=False)
    own = [line for line in done.stdout.splitlines() if line.startswith(package)]
    assert not own, "\n".join(own)


@pytest.mark.slow
def test_a_new_learned_method_trains_saves_and_loads(tmp_path):
    from refbench.scenes.write import write_scene

    folder = write_package("learned", "new-net", tmp_path)
    write_scene(tmp_path / "scene", scenes.scene(grid=scenes.utm_grid(96, 96)))
    with_plugin(folder, "new_net", "check", "new-net")
    train = ("train", tmp_path / "scene", "--method", "new-net", "--steps", 30, "--out", tmp_path / "trained")
    assert "steps: 30" in with_plugin(folder, "new_net", *train)
    run = ("run", "--method", "new-net", "--weights", tmp_path / "trained" / "weights", "--out", tmp_path / "out")
    with_plugin(folder, "new_net", *run)
    assert Path(tmp_path / "out" / "dsm.tif").is_file()
