"""The scripts of docs/howto/cluster: their syntax, and that one sweep comes out of an array run by all of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from refbench.engine.sweeps.check import sweep_faults
from refbench.engine.sweeps.finished import read_sweep

FOLDER = Path(__file__).parents[2] / "docs" / "howto" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
SUITE = """
refbench_suite: 1
name: mine
methods: [input]
scenes:
  - {cut: {scene: embedded, size_m: 16}}
  - {cut: {scene: embedded, size_m: 18}}
  - {cut: {scene: embedded, size_m: 20}}
"""


def jobs():
    return [job for job in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()) if job is not None]


def container(job):
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_of_the_shell_and_ask_for_as_many_elements_as_they_deal_out(script):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "OF=${OF:-8}" in text and ("--array=0-7" in text or "-J 0-7" in text)


def test_the_pods_are_as_many_as_they_deal_out_and_share_a_volume():
    shards, merge = jobs()
    spec = shards["spec"]
    said = {entry["name"]: entry["value"] for entry in container(shards)["env"]}
    assert spec["completionMode"] == "Indexed" and str(spec["completions"]) == said["OF"]
    assert shards["spec"]["template"]["spec"]["volumes"] == merge["spec"]["template"]["spec"]["volumes"]
    assert said["OUT"] == container(merge)["env"][0]["value"]
    for job in (shards, merge):
        subprocess.run(["sh", "-n", "-c", *container(job)["args"]], check=True)


def test_one_array_by_slurm_pbs_and_kubernetes_is_one_sweep(tmp_path):
    (tmp_path / "study.yaml").write_text(SUITE)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PBS"))},
        **{"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "OF": "3"},
    }
    shards, merge = (container(job) for job in jobs())
    pod = {entry["name"]: entry["value"] for entry in shards["env"]} | {"OF": "3", "JOB_COMPLETION_INDEX": "2"}
    for words, variables in (
        (["bash", FOLDER / "slurm.sh"], {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1"}),
        (["bash", FOLDER / "pbs.sh"], {"PBS_ARRAY_INDEX": "1", "PBS_O_WORKDIR": str(tmp_path)}),
        ([*shards["command"], *shards["args"]], pod),
        ([*merge["command"], *merge["args"]], pod),
    ):
        subprocess.run(words, cwd=tmp_path, env=environment | variables, check=True, capture_output=True)
    assert [*sweep_faults(tmp_path / "study")] == [] and len(read_sweep(tmp_path / "study")) == 3
