"""What the release says of itself, in one voice."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from built import FOLDERS, ROOT

import refbench
from refbench.registry.registry import load_registry

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def setup():
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def test_the_version_is_one(setup):
    said = {
        refbench.__version__,
        setup["metadata"]["version"],
        re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1],
    }
    assert len(said) == 1 and re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", said.pop())


def test_the_author_is_one(setup):
    author = setup["metadata"]["author"]
    assert f"name: {author}" in (ROOT / "CITATION.cff").read_text()
    assert author in (ROOT / "NOTICE").read_text() and author in (ROOT / "LICENSE").read_text()


def test_versions_of_python_are_declared(setup):
    classifiers = setup["metadata"]["classifiers"]
    assert re.findall(r"Python :: (3\.\d+)", classifiers) == list(SUPPORTED)
    assert setup["options"]["python_requires"] == f">={SUPPORTED[0]}"
    assert "POSIX :: Linux" in classifiers and "MacOS" in classifiers


@pytest.mark.slow
@pytest.mark.parametrize("version", SUPPORTED)
def test_every_module_is_read_by_every_version(version, tmp_path):
    """No syntax and no name of a later standard library slips in, where that interpreter is on this machine."""
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    python = str(found[-1]) if found else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no Python {version} here")
    program = (Path(__file__).parents[1] / "support" / "reads_sources.py").read_text()
    folders = [str(ROOT / folder) for folder in FOLDERS]
    done = subprocess.run([python, "-c", program, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_built_in_weights_are_named_in_the_notice():
    """Each folder of weights has a card that names its data; the notice says so and names what is special."""
    notice = (ROOT / "NOTICE").read_text()
    for record in load_registry().methods:
        if record.weights_in:
            package, folder = record.weights_in.split(":")
            for name in record.weights:
                card = ROOT / "plugins" / package / folder / name / "README.md"
                assert card.is_file(), card
            assert record.name in notice.lower().replace("-", ""), record.name


def test_what_the_page_ships_is_named_in_the_notice():
    """Scripts and styles that a reader's browser runs are refbench's own."""
    notice = (ROOT / "NOTICE").read_text()
    for path in (ROOT / "core" / "refbench" / "reporting" / "page").glob("*.[jc]s*"):
        assert path.name in notice, path.name


def test_policy_and_platforms_are_told():
    text = (ROOT / "docs" / "releases.md").read_text()
    for words in ("Versions", "Platforms", "Linux", "macOS", "Windows", "deprecat", *SUPPORTED):
        assert words in text, words
