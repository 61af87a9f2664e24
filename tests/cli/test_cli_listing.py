import importlib
import importlib.util
import json
import resource
import subprocess
import sys
from importlib import metadata, resources

import click
import numpy as np
import pytest
from makers import grid_of, write_tif
from run_refbench import answer, fresh_registry

from refbench.cli.main import VERBS, cli, main
from refbench.registry.registry import load_registry

HEAVY = ("torch", "open3d", "rasterio", "scipy", "pandas", "numpy", "pydantic", "yaml", "rich")
LIGHT_COMMANDS = [["--help"], ["methods"], ["info", "median"], ["info", "resdepth"], ["info", "immpi"], ["plugins"]]
BROKEN = "from refbench import hookimpl\nimport no_such_package_xyz\n"


@pytest.fixture
def fresh():
    with fresh_registry() as patch:
        yield patch


def run(*arguments, **variables):
    """Run refbench without the plugins of this machine's user."""
    return answer(None, *arguments, **{"REFBENCH_PLUGINS": "", **variables})


@pytest.mark.parametrize("arguments", LIGHT_COMMANDS, ids=" ".join)
def test_listing_imports_nothing_heavy(arguments):
    code = f"import sys; from refbench.cli.main import main; main({arguments!r}); print('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.rpartition("|")[2].split()}
    assert "click" in tops
    assert not tops & set(HEAVY)


def test_listing_costs_little_cpu():
    def cpu_seconds(command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def least_of_3(*arguments):
        # A busy machine only adds to it: the least is nearest to what the command itself costs.
        return min(cpu_seconds([sys.executable, *arguments]) for _ in range(3))

    bare = least_of_3("-c", "pass")
    for arguments in (["--help"], ["methods"], ["info", "median"]):
        assert least_of_3("-m", "refbench.cli.main", *arguments) - bare < 0.15


def test_help_lists_every_verb_with_its_line():
    text = run("--help").stdout
    for verb, line in VERBS.items():
        assert verb in text
        assert line.split(".")[0][:40] in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_the_table_is_a_command(verb):
    module = importlib.import_module(f"refbench.cli.{verb.replace('-', '_')}")
    assert isinstance(module.command, click.Command)
    assert module.command.help


def test_methods_names_every_registered_method(fresh, capsys):
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in listed] == list(load_registry().methods.names())
    median = next(entry for entry in listed if entry["name"] == "median")
    assert median["needs"] == ["dsm"] and median["status"] == "ready"
    assert main(["methods"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "NEEDS", "GIVES", "TRAINABLE", "WEIGHTS", "STATUS"]
    assert len(rows) == len(listed)


@pytest.mark.parametrize("name", load_registry().methods.names())
def test_info_tells_needs_licence_and_keys(name, fresh, capsys):
    assert main(["info", name]) == 0
    text = capsys.readouterr().out
    record = load_registry().methods.get(name)
    assert all(need.value in text for need in record.needs)
    assert record.licence in text
    assert ("WARNING" in text) == record.is_unlicensed
    assert ("import-weights" in text) == record.imports_weights()
    assert ("KEY" in text) == (record.config is not None)


def test_info_of_an_unlicensed_needy_method(fresh, tmp_path, capsys):
    file = tmp_path / "needy_plugin.py"
    file.write_text(
        "from refbench import Gives, MethodRecord, Need, hookimpl\n"
        "@hookimpl\n"
        "def refbench_methods():\n"
        "    return [MethodRecord('needy', 'a:B', 'Wants much.', (Need.VIEWS,), (Gives.DEPTHS,),\n"
        "            packages=('no_such',), extras=('needy',), official='needy_plugin:Files',\n"
        "            weights=('big',), needs_weights=True)]\n"
    )
    fresh.setenv("REFBENCH_WEIGHTS", str(tmp_path))
    assert main(["--plugin", str(file), "info", "needy"]) == 0
    text = capsys.readouterr().out
    assert "WARNING" in text and "no licence" in text
    assert "no_such" in text and "refbench[needy]" in text
    assert "none found" in text and str(tmp_path / "needy") in text
    assert "refbench import-weights --method needy" in text
    assert main(["methods"]) == 0
    assert "needs no_such" in capsys.readouterr().out


def test_a_broken_plugin_is_named_on_every_command_and_stops_none(tmp_path):
    file = tmp_path / "broken_plugin.py"
    file.write_text(BROKEN)
    for arguments in (["--help"], ["methods"], ["info", "median"], ["plugins"], ["evaluate", "--help"]):
        done = run(*arguments, REFBENCH_PLUGINS=str(file))
        assert done.returncode == 0
        (warning,) = [line for line in done.stderr.splitlines() if "broken_plugin" in line]
        assert "no_such_package_xyz" in warning
    listing = run("plugins", REFBENCH_PLUGINS=str(file)).stdout
    assert "broken" in listing and "import no_such_package_xyz" in listing and str(file) in listing
    unknown = run("info", "its-method", REFBENCH_PLUGINS=str(file))
    assert unknown.returncode == 2
    assert "broken_plugin" in unknown.stderr.splitlines()[-1]


def test_the_plugin_switches(tmp_path):
    file = tmp_path / "broken_plugin.py"
    file.write_text(BROKEN)
    quiet = run("--no-third-party", "methods", REFBENCH_PLUGINS=str(file))
    assert quiet.returncode == 0
    assert "broken_plugin" not in quiet.stderr
    strict = run("--strict-plugins", "--plugin", file, "methods")
    assert strict.returncode == 2
    assert strict.stderr.startswith("Error: ") and "no_such_package_xyz" in strict.stderr


def test_a_plugin_brings_a_verb(tmp_path):
    file = tmp_path / "verb_plugin.py"
    file.write_text(
        "import click\nfrom refbench import hookimpl\nfrom refbench.registry.records import VerbRecord\n"
        "@click.command()\ndef greet():\n    click.echo('hello')\n"
        "@hookimpl\ndef refbench_verbs():\n    return [VerbRecord('greet', 'verb_plugin:greet', 'Says hello.')]\n"
    )
    assert "Says hello." in run("--plugin", file, "--help").stdout
    assert run("--plugin", file, "greet").stdout == "hello\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["mehtods"], "methods"), (["methods", "--jsno"], "--json"), (["info", "meadian"], "median"), (["info"], "NAME")],
)
def test_a_slip_gets_a_suggestion_and_code_2(arguments, hint, fresh, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert hint in error


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("InputError('x')", 2),
        ("MissingFileError('x')", 2),
        ("UnsupportedError('x')", 3),
        ("MissingExtraError('x')", 3),
        ("CancelledError('x')", 1),
        ("OSError(28, 'No space left on device', 'x')", 1),
        ("ZeroDivisionError('x')", 1),
        ("KeyboardInterrupt()", 130),
    ],
)
def test_errors_become_one_sentence_and_a_code(raised, code, fresh, capsys):
    @click.command()
    def failing():
        from refbench.contracts import errors

        raise eval(raised, vars(errors))

    fresh.setattr(cli, "get_command", lambda ctx, name: failing)
    fresh.setitem(VERBS, "failing", "Fails.")
    assert main(["failing"]) == code
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    fresh.setenv("REFBENCH_DEBUG", "1")
    assert main(["failing"]) == code
    assert ("Traceback" in capsys.readouterr().err) == (code != 130)


def test_the_console_script_points_at_main():
    (script,) = [point for point in metadata.entry_points(group="console_scripts") if point.name == "refbench"]
    assert script.load() is main


def test_doctor_reports_packages_and_folders(fresh, capsys, tmp_path):
    fresh.setenv("REFBENCH_WEIGHTS", str(tmp_path))
    code = main(["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert code == int(any(check["status"] == "missing" for check in checks.values()))
    assert checks["numpy"] == {"name": "numpy", "status": "ok", "detail": metadata.version("numpy")}
    assert checks["weights folder"]["detail"] == str(tmp_path)
    assert {"torch", "open3d", "torch-scatter", "working folder"} <= set(checks)


@pytest.mark.slow
def test_doctor_asks_methods_about_their_optional_parts(tmp_path):
    pytest.importorskip("torch")
    plugin = tmp_path / "asked_plugin.py"
    plugin.write_text(
        "from refbench import Gives, MethodRecord, Need, hookimpl\n"
        "def checks():\n"
        "    yield 'probe', True, 'is fine'\n"
        "def broken():\n"
        "    raise OSError('gone')\n"
        "@hookimpl\n"
        "def refbench_methods():\n"
        "    return [MethodRecord(name, 'a:B', 'X.', (Need.DSM,), (Gives.DSM,), checks=f'asked_plugin:{function}')\n"
        "            for name, function in (('asked', 'checks'), ('sick', 'broken'))]\n"
    )
    (tmp_path / "lib" / "nvdiffrast").mkdir(parents=True)
    (tmp_path / "lib" / "nvdiffrast" / "__init__.py").write_text("")
    done = run("doctor", "--json", REFBENCH_PLUGINS=str(plugin), PYTHONPATH=str(tmp_path / "lib"))
    found = {check["name"]: (check["status"], check["detail"]) for check in json.loads(done.stdout)}
    assert found["asked: probe"] == ("ok", "is fine")
    assert found["sick: checks"][0] == "absent" and "gone" in found["sick: checks"][1]
    status, detail = found["diffrender: nvdiffrast"]
    if not importlib.import_module("torch").cuda.is_available():
        assert status == "absent" and "sees no CUDA device" in detail
        assert found["diffrender: rasteriser on cpu"][0] == "ok"
    absent = {check["name"]: check["detail"] for check in json.loads(run("doctor", "--json").stdout)}
    assert "licence" in absent["diffrender: nvdiffrast"] or importlib.util.find_spec("nvdiffrast")


def test_import_weights_refuses_what_it_cannot_do(fresh, capsys, tmp_path):
    assert main(["import-weights", "--method", "median", str(tmp_path)]) == 2
    assert "(import weights)" in capsys.readouterr().err


@pytest.fixture
def official_plugin(fresh, tmp_path, capsys):
    """A method with an official module that copies, fails half-way or takes an option."""
    file = tmp_path / "official_plugin.py"
    file.write_text(
        "from refbench import Gives, MethodRecord, Need, hookimpl\n"
        "@hookimpl\n"
        "def refbench_methods():\n"
        "    files = 'official_plugin:Files'\n"
        "    return [MethodRecord('foreign', 'a:B', 'X.', (Need.DSM,), (Gives.DSM,), official=files)]\n"
        "from refbench.contracts.official import NoOfficialFiles\n"
        "class Files(NoOfficialFiles):\n"
        "    import_options = {'gain': 'how often'}\n"
        "    def import_weights(self, source, folder, options):\n"
        "        gain = options.get('gain', 1)\n"
        "        folder.mkdir(parents=True)\n"
        "        (folder / 'copy').write_text(source.read_text() * gain)\n"
        "        return {'gain': gain}\n"
        "    def export_scene(self, scene, folder, options):\n"
        "        folder.mkdir()\n"
        "        (folder / 'half').write_text('x')\n"
        "        raise OSError(28, 'No space left on device')\n"
    )
    fresh.setenv("REFBENCH_PLUGINS", str(file))
    fresh.setenv("REFBENCH_WEIGHTS", str(tmp_path / "weights"))
    yield tmp_path
    sys.modules.pop("official_plugin", None)


def test_import_weights_calls_the_official_module(official_plugin, capsys):
    source = official_plugin / "best.pt"
    source.write_text("w")
    command = ["import-weights", "--method", "foreign", str(source)]
    assert main([*command, "--out", str(official_plugin / "out"), "--option", "gain=3"]) == 0
    assert (official_plugin / "out" / "copy").read_text() == "www"
    assert "gain: 3" in capsys.readouterr().out
    assert main(command) == 0
    assert (official_plugin / "weights" / "foreign" / "best" / "copy").read_text() == "w"
    assert main([*command, "--option", "gian=3"]) == 2
    assert "gain" in capsys.readouterr().err
    assert main([*command[:-1], str(official_plugin / "absent.pt")]) == 2


def test_an_export_that_fails_leaves_nothing(official_plugin):
    scene = official_plugin / "scene"
    scene.mkdir()
    (scene / "scene.yaml").write_text("refbench_scene: 1\nid: small\ndsm: dsm.tif\n")
    write_tif(scene / "dsm.tif", np.ones((4, 4), np.float32), grid_of(4, 4, gsd=1.0))
    target = official_plugin / "exported"
    assert main(["scene", "export", "--to", "foreign", str(scene), str(target)]) == 1
    assert not target.exists()
    target.mkdir()
    (target / "mine").write_text("keep")
    assert main(["scene", "export", "--to", "foreign", str(scene), str(target)]) == 2
    assert (target / "mine").read_text() == "keep"


def test_shipped_configurations_travel_with_the_package():
    folder = resources.files("refbench.configs")
    assert (folder / "baselines" / "median.yaml").is_file()
