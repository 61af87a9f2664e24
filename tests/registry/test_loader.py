import importlib
import re
import sys

import pytest

from refbench.registry.loader import Options, PluginError, load_plugins
from refbench.registry.registry import build_registries

RECORD = """
from refbench import Gives, MethodRecord, Need, hookimpl

def record(name):
    return MethodRecord(name, "nowhere:Class", "A test.", (Need.DSM,), (Gives.DSM,))

@hookimpl
def refbench_methods():
    return [{body}]
"""
GOOD = RECORD.format(body='record("third-party")')

BROKEN = {
    "missing_import": ("import no_such_package", "no_such_package"),
    "syntax": ("def (", "SyntaxError"),
    "exits": ("import sys; sys.exit(0)", "SystemExit"),
    "raises": (GOOD.replace("return [", "1 / 0; return ["), "ZeroDivisionError"),
    "misspelt": (GOOD.replace("refbench_methods", "refbench_mehtods"), "refbench_mehtods"),
    "kwargs": (GOOD.replace("refbench_methods()", "refbench_methods(**kwargs)"), r"\*\*kwargs"),
    "unknown_argument": (GOOD.replace("refbench_methods()", "refbench_methods(config)"), "config"),
    "no_hooks": ("x = 1", "no hook"),
    "not_a_list": (GOOD.replace('[record("third-party")]', '"third-party"'), "list of MethodRecord"),
    "wrong_record": (GOOD.replace('record("third-party")', "{'name': 'x'}"), "MethodRecord only"),
    "bad_name": (RECORD.format(body='record("Two words")'), "lower-case"),
    "bad_target": (GOOD.replace("nowhere:Class", "nowhere.Class"), "module:name"),
    "twice": (RECORD.format(body='record("a"), record("a")'), "again"),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module as a distribution with an entry point, the way pip leaves it on disk."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(module, source, distribution=None, version="1.2"):
        distribution = distribution or f"dist-{module}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[refbench]\n{module} = {module}\n")
        importlib.invalidate_caches()
        return tmp_path / f"{module}.py"

    before = set(sys.modules)
    yield put
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_an_installed_plugin_registers_its_methods(install):
    install("good_plugin", GOOD)
    registries = build_registries(Options())
    assert "third-party" in registries.methods
    plugin = registries.methods.plugin_of("third-party")
    assert (plugin.name, plugin.distribution, plugin.version) == ("good_plugin", "dist-good_plugin", "1.2")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_stays_listed_with_its_reason_and_stops_nobody(install, kind):
    source, reason = BROKEN[kind]
    module = f"broken_{kind}"
    install(module, source)
    install("good_plugin", GOOD)
    registries = build_registries(Options())
    (broken,) = [plugin for plugin in registries.broken if plugin.name == module]
    assert broken.version == "1.2"
    assert "\n" not in broken.reason
    assert re.search(reason, broken.reason)
    assert broken.trace
    assert not broken.records
    assert {"third-party", "median"} <= set(registries.methods.names())


@pytest.mark.parametrize("kind", BROKEN)
def test_strict_loading_raises(install, kind):
    source, _ = BROKEN[kind]
    install(f"broken_{kind}", source)
    with pytest.raises(PluginError, match=f"broken_{kind}"):
        load_plugins(Options(strict=True))


def test_a_name_that_is_taken_refuses_the_later_plugin_and_names_both_distributions(install):
    install("a_first", GOOD)
    install("b_second", GOOD, version="3.0")
    registries = build_registries(Options())
    (broken,) = [plugin for plugin in registries.broken if plugin.name == "b_second"]
    assert "dist-a_first 1.2" in broken.reason and "dist-b_second 3.0" in broken.reason
    assert registries.methods.plugin_of("third-party").name == "a_first"


def test_a_third_party_cannot_take_a_built_in_name(install):
    install("aaa", RECORD.format(body='record("median")'), distribution="aaa")
    registries = build_registries(Options())
    assert registries.methods.plugin_of("median").distribution == "refbench"
    assert "median" in next(plugin.reason for plugin in registries.broken if plugin.name == "aaa")


def test_no_third_party_loads_refbench_alone(install, tmp_path):
    install("good_plugin", GOOD)
    file = tmp_path / "file_plugin.py"
    file.write_text(RECORD.format(body='record("from-file")'))
    plugins = load_plugins(Options(files=(file,), third_party=False))
    assert {plugin.distribution for plugin in plugins} == {"refbench"}


def test_an_unpackaged_file_is_loaded_under_its_stem(tmp_path):
    file = tmp_path / "plugin_in_a_file.py"
    file.write_text(GOOD.replace("nowhere:Class", "plugin_in_a_file:Class") + "\nclass Class:\n    pass\n")
    try:
        registries = build_registries(Options(files=(file,)))
        assert registries.methods.plugin_of("third-party").distribution == str(file)
        assert registries.methods.get("third-party").load().__name__ == "Class"
        again = build_registries(Options(files=(file,)))
        assert "third-party" in again.methods
    finally:
        sys.modules.pop("plugin_in_a_file", None)


@pytest.mark.parametrize(
    ("name", "reason"), [("absent_file.py", "no file"), ("json.py", "hides the module json"), ("plugin.txt", "Python")]
)
def test_a_file_that_cannot_be_a_plugin_is_broken(tmp_path, name, reason):
    if name != "absent_file.py":
        (tmp_path / name).write_text(GOOD)
    registries = build_registries(Options(files=(tmp_path / name,)))
    assert reason in next(plugin.reason for plugin in registries.broken if plugin.distribution == str(tmp_path / name))


def test_a_file_that_fails_leaves_no_half_module_behind(tmp_path):
    file = tmp_path / "half_done.py"
    file.write_text("x = 1\nraise RuntimeError('stop')")
    load_plugins(Options(files=(file,)))
    assert "half_done" not in sys.modules


@pytest.mark.parametrize(("value", "is_on"), [("", False), ("0", False), ("1", True)])
def test_the_environment_sets_the_switches(value, is_on):
    variables = {"REFBENCH_NO_PLUGINS": value, "REFBENCH_STRICT_PLUGINS": value, "REFBENCH_PLUGINS": "a.py:b.py"}
    options = Options.from_environment(variables)
    assert (options.third_party, options.strict) == (not is_on, is_on)
    assert [path.name for path in options.files] == ["a.py", "b.py"]
