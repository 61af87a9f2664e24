"""Text configurations of ImMPI's programs: told apart by their keys, back-slashes as they are."""

import pytest
from run_refbench import refbench

pytest.importorskip("torch")
from refbench_immpi.official.config import pairs_of, program_of, read_official


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("batch_size = 2\nnum_workers = 4\n", "train"),
        ("validate_freq: 5", "train"),
        ("resume = True\nloadckpt = None\n", "train"),
        ("train_data = D:\\data\\new\n", "train"),
        ("loss_lpips = 0.5\n", "optimize"),
        ("learning_rate = 1e-3\nepoch = 3\n", "optimize"),
        ("track_view = 7\n", "video"),
        ("planes: {number: 8}\n", None),
        ("# nothing\n", None),
    ],
)
def test_a_program_is_told_by_its_own_keys(tmp_path, text, program):
    (tmp_path / "c.txt").write_text(text)
    assert program_of(pairs_of(tmp_path / "c.txt")) == program


def test_back_slashes_stay_what_they_are(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text(
        "train_dataset_dirpath = D:\\new\\textures\\u00e9\nvalidate_dataset_dirpath=\\\\server\\x\n"
        "logdir : 'C:\\a b\\t'  # where\n"
    )
    values = read_official(path).values
    assert values["train_dataset_dirpath"] == r"D:\new\textures\u00e9"
    assert values["validate_dataset_dirpath"] == r"\\server\x" and values["logdir"] == r"C:\a b\t"


def test_the_command_line_reads_them(tmp_path):
    (tmp_path / "train.txt").write_text("num_workers = 0\nbatch_size = 1\ndepth_sample_num = 4\n")
    (tmp_path / "other.txt").write_text("dataset_dirpath = D:\\data\nscene_id = scene_005\n")
    said = refbench(tmp_path, "run", "--method", "immpi", "--config", "train.txt", "--dry-run")
    assert "train.txt" in said and "city-1031" in said
    said = refbench(
        tmp_path, "run", "--method", "immpi", "--config", "other.txt", "--weights", "small", "--dry-run", code=2
    )
    assert r"D:\data" in said and "holds no Images and Cams" in said
