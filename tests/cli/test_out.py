"""--out from the command line: devices, outputs of results, inputs and other files stay; runs do not mix."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from makers import grid_of, write_tif
from run_refbench import answer, refbench, start
from sweep_maker import SweepMaker

from refbench.contracts.errors import InputError
from refbench.scenes.scene_yaml import embedded_scene_path
from refbench.weights.weights_folder import write_weights


@pytest.fixture
def dsm(tmp_path):
    heights = 100 + np.random.default_rng(0).random((40, 50), np.float32)
    return write_tif(tmp_path / "dsm.tif", heights, grid_of(40, 50, gsd=1.0))


def test_a_table_goes_over_no_device_and_no_output_of_a_job(tmp_path):
    maker = SweepMaker(tmp_path / "sweep")
    maker.ok("lift", "hill", 0.5)
    job = next((tmp_path / "sweep").glob("*/lift--hill--seed0/dsm.tif"))
    before = job.read_bytes()
    for target in ("/dev/full", "/dev/null", job, job.with_name("result.json")):
        assert "--out" in refbench(tmp_path, "table", "sweep", "--out", target, code=2)
    assert job.read_bytes() == before and Path("/dev/null").is_char_device() and Path("/dev/full").is_char_device()
    refbench(tmp_path, "table", "sweep", "--out", "table.md")
    refbench(tmp_path, "table", "sweep", "--out", "table.md")  # its own older one


def test_overwriting_deletes_neither_inputs_nor_other_files(tmp_path, dsm):
    refbench(tmp_path, "run", "--method", "input", "--dsm", dsm, "--out", "out", "--no-report")
    again = ("run", "--method", "input", "--out", "out", "--no-report", "--overwrite")
    refbench(tmp_path, *again, "--dsm", dsm)
    said = refbench(tmp_path, *again, "--dsm", "out/dsm.tif", code=2)
    assert "input" in said and (tmp_path / "out" / "dsm.tif").is_file()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "notes.txt" in refbench(tmp_path, *again, "--dsm", dsm, code=2)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("there", ["nothing", "another result"])
def test_of_two_runs_on_one_folder_one_is_refused(tmp_path, dsm, there):
    if there == "another result":
        refbench(tmp_path, "run", "--method", "input", "--dsm", dsm, "--out", "out", "--no-report")
    words = ("run", "--method", "input", "--dsm", dsm, "--out", "out", "--no-report", "--overwrite")
    both = [start(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    said = [process.communicate(timeout=400)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 0], [0, 2]), said  # the second may come when the first has ended
    if codes == [0, 2]:
        assert any("Another run" in text for text in said), said
    assert (tmp_path / "out" / "result.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dsm.tif", "out"]


def test_a_folder_that_appears_during_the_run_is_kept_and_so_is_the_result(tmp_path, dsm):
    plugin = tmp_path / "appear.py"
    plugin.write_text(
        "import pathlib\nfrom refbench import Gives, MethodRecord, Need, Prediction, hookimpl\n"
        "class Appear:\n"
        "    def __init__(self, config, weights): pass\n"
        "    def refine(self, scene, context):\n"
        "        out = context.scratch.parent.parent / 'out'\n"
        "        out.mkdir()\n"
        "        (out / 'thesis.txt').write_text('mine')\n"
        "        return Prediction(scene.dsm.read())\n"
        "@hookimpl\ndef refbench_methods():\n"
        "    return [MethodRecord('appear', 'appear:Appear', 'x', (Need.DSM,), (Gives.DSM,))]\n"
    )
    words = ("run", "--method", "appear", "--dsm", dsm, "--out", "out", "--no-report")
    done = answer(tmp_path, *words, REFBENCH_PLUGINS=plugin)
    assert done.returncode == 2 and "out-2" in done.stderr, done.stdout + done.stderr
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "out-2" / "result.json").is_file()
    shutil.rmtree(tmp_path / "out")


EMBEDDED = embedded_scene_path()
JAX = ("--images", EMBEDDED / "views" / "sat_a.tif", EMBEDDED / "views" / "sat_b.tif")
WRITING_VERBS = {
    "city": ("city", "--size", "64", "--no-aerial", "--out", "mine"),
    "city that may overwrite": ("city", "--size", "64", "--no-aerial", "--overwrite", "--out", "mine"),
    "train": ("train", "--method", "resdepth", EMBEDDED, "--steps", "1", "--out", "mine"),
    "train that resumes": ("train", "--method", "resdepth", EMBEDDED, "--steps", "1", "--resume", "--out", "mine"),
    "scene new": ("scene", "new", "mine", "--dsm", EMBEDDED / "dsm.tif"),
    "scene export": ("scene", "export", "--to", "implicity", EMBEDDED, "mine"),
    "scene from-images": ("scene", "from-images", *JAX, "--out", "mine"),
    "new-method": ("new-method", "mine"),
    "new-importer": ("new-importer", "mine"),
    "new-assessor": ("new-assessor", "mine"),
    "render": ("render", "--scene", EMBEDDED, "--weights", "small", "--out", "mine"),
    "implicity-chunks": ("implicity-chunks", "chunks.yaml", "--out", "mine"),
    "import-weights": ("import-weights", "--method", "resdepth", "nets", "--out", "mine"),
    "import-weights that may overwrite": (
        "import-weights", "--method", "resdepth", "nets", "--overwrite", "--out", "mine",
    ),
    "bench": ("bench", "tiny", "--out", "mine"),
    "bench that resumes": ("bench", "tiny", "--resume", "--out", "mine"),
    "run": ("run", "--method", "input", "--overwrite", "--out", "mine"),
    "table": ("table", "sweep", "--out", "mine"),
    "report": ("report", "mine"),
}  # fmt: skip


@pytest.mark.parametrize("there", ["folder", "file", "link"])
@pytest.mark.parametrize("verb", WRITING_VERBS)
def test_no_verb_touches_a_folder_of_somebody(tmp_path, verb, there):
    (tmp_path / "nets").mkdir()
    if there == "folder":
        for name in ("scene.yaml", "thesis.txt", "weights/mine.txt", "deep/er/mine.txt"):
            (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / name).write_text("mine")
    elif there == "file":
        (tmp_path / "mine").write_text("mine")
    else:
        (tmp_path / "mine").symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    said = refbench(tmp_path, *WRITING_VERBS[verb], code=2)
    assert contents(tmp_path) == before and len(said.strip().splitlines()[-1]) < 400


def contents(folder):
    """Path -> bytes of every file, or where a link leads."""
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def test_weights_are_replaced_on_demand_and_nothing_beside_them_is_lost(tmp_path):
    source = write_weights(tmp_path / "mine", {"a": np.zeros(3)}, {"kind": "x"}, "card").path
    words = ("import-weights", "--method", "resdepth", "nets", "--out", "mine")
    (tmp_path / "nets").mkdir()
    assert "--overwrite" in refbench(tmp_path, *words, code=2)
    (source / "curves.csv").write_text("mine")
    assert "curves.csv" in refbench(tmp_path, *words, "--overwrite", code=2)
    with pytest.raises(InputError, match=r"curves\.csv"):
        write_weights(source, {"a": np.zeros(3)}, {"kind": "x"}, "card")
    assert (source / "curves.csv").read_text() == "mine" and (source / "model.safetensors").is_file()
