"""Wheel and sdist: complete, equal, and running from an empty folder without a checkout."""

import subprocess
import sys
import tarfile
import zipfile

import pytest
from built import FOLDERS, ROOT, build, copy_of_the_sources
from run_refbench import ONE_THREAD

pytestmark = pytest.mark.slow
PACKAGES = {"core/refbench": "refbench", "configs": "refbench/configs", "benchmarks/suites": "refbench/suites"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return copy_of_the_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """An otherwise empty folder with the wheel; its dependencies are those of these tests."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


def names(wheel):
    """What a wheel holds beside its metadata."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def refbench(site, where, *arguments):
    environment = {**ONE_THREAD, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "refbench", *map(str, arguments)]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_tracked_file_of_its_folders(wheel):
    """No module, template, configuration, suite or weight is forgotten."""
    command = ["git", "ls-files", *FOLDERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not in a checkout of git")
    expected = set()
    for name in done.stdout.split():
        folder = next((folder for folder in PACKAGES if name.startswith(f"{folder}/")), None)
        expected.add(f"{PACKAGES[folder]}{name[len(folder) :]}" if folder else name.removeprefix("plugins/"))
    assert sorted(expected - names(wheel)) == []


def test_licence_and_notice_are_in_the_wheel(wheel):
    inside = {name.rsplit("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE", "METADATA", "entry_points.txt"} <= inside


def test_the_sdist_builds_the_same_wheel(sources, wheel, tmp_path):
    with tarfile.open(build("sdist", sources, tmp_path)) as packed:
        packed.extractall(tmp_path, filter="data")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    out = tmp_path / "again"
    out.mkdir()
    assert names(build("wheel", folder, out)) == names(wheel)


def test_it_runs_from_an_empty_folder(site, tmp_path):
    where = "import refbench, refbench_immpi; print(refbench.__file__, refbench_immpi.__file__)"
    environment = {**ONE_THREAD, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.count(str(site)) == 2
    refbench(site, tmp_path, "run", "--method", "median", "--out", "out")
    assert (tmp_path / "out" / "dsm.tif").is_file() and (tmp_path / "out" / "report.html").is_file()
    assert "resdepth" in refbench(site, tmp_path, "methods")
    assert " passed" in refbench(site, tmp_path, "check", "median", "--only", "units")


def test_its_weights_suites_and_templates_are_there(site, tmp_path):
    refbench(site, tmp_path, "run", "--method", "pix2pix", "--config", "small", "--out", "out")
    assert "jobs" in refbench(site, tmp_path, "bench", "tiny", "--dry-run", "--out", "sweep")
    refbench(site, tmp_path, "new-method", "made-of-a-wheel")
    assert (tmp_path / "made-of-a-wheel" / "pyproject.toml").is_file()
