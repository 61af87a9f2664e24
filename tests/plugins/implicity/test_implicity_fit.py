import json

import numpy as np
import pytest
import yaml
from run_refbench import refbench

from refbench.scenes.scene_yaml import embedded_scene_path

pytest.importorskip("lightning_fabric")
SMALL = ("--set", "variant=0", "--set", "training.batch_size=1", "--set", "model.point_encoder.hidden_dim=8")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    refbench(folder, "scene", "export", "--to", "implicity", embedded_scene_path(), folder / "set")
    return folder / "set"


def test_an_exported_scene_is_an_official_data_set(exported):
    info = yaml.safe_load((exported / "chunk_info.yaml").read_text())
    low, high = np.array(info[0]["min_bound"]), np.array(info[0]["max_bound"])
    assert (high - low)[:2].tolist() == [112.0, 112.0]
    for kind in ("uniform", "roof", "facade", "terrain"):
        with np.load(exported / "chunk_000" / f"query--{kind}.npz") as file:
            assert set(file.files) == {"pts", "occ", "mask_gt", "mask_building", "mask_forest", "mask_water"}
            assert len(file["pts"]) == info[0][f"n_query_pts-{kind}"] > 0
            assert set(np.unique(file["occ"])) <= {0, 1, 2}
            assert (file["occ"][file["pts"][:, 2] < low[2] - 20] > 0).all()  # deep below everything is ground
    assert "not empty" in refbench(
        exported.parent, "scene", "export", "--to", "implicity", embedded_scene_path(), exported, code=2
    )


@pytest.mark.slow
def test_training_from_scenes_gives_weights_that_run_and_resumes(tmp_path):
    scene = embedded_scene_path()
    refbench(tmp_path, "train", "--method", "implicity", scene, "--steps", 1, "--out", "out", *SMALL)
    assert "not empty" in refbench(
        tmp_path, "train", "--method", "implicity", scene, "--steps", 1, "--out", "out", *SMALL, code=2
    )
    refbench(tmp_path, "train", "--method", "implicity", scene, "--steps", 2, "--out", "out", "--resume", *SMALL)
    rows = (tmp_path / "out" / "run" / "training.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2"]
    refbench(tmp_path, "run", "--method", "implicity", scene, "--weights", "out/weights", "--out", "result")
    result = json.loads((tmp_path / "result" / "result.json").read_text())
    assert result["status"] == "ok" and result["notes"]["variant"] == "0"


@pytest.mark.slow
def test_training_from_an_official_configuration(tmp_path, exported):
    refbench(
        tmp_path,
        *("train", "--method", "implicity", "--config", exported / "config.yaml", "--steps", 1, "--out", "out"),
        *("--set", "training.optimize_every=2", "--set", "dataset.n_workers=0", "--set", "dataset.n_query_points=500"),
    )
    (run,) = (tmp_path / "out").glob("*-ImpliCity-stereo")  # <out_dir>/<time>-<run_name>, as published
    assert (run / "check_points" / "model.pt").is_file()
    assert (tmp_path / "out" / "weights" / "model.safetensors").is_file()


def test_what_cannot_be_trained_is_said(tmp_path):
    scene = embedded_scene_path()
    assert "does not learn" in refbench(tmp_path, "train", "--method", "median", scene, "--out", "out", code=2)
    assert "data set" in refbench(tmp_path, "train", "--method", "implicity", "--steps", 1, "--out", "out", code=2)
    assert not (tmp_path / "out").exists()
