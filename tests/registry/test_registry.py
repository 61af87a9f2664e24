import dataclasses
import re
import sys
import warnings

import pytest

from refbench.contracts.errors import InputError, MissingExtraError, UnknownNameError
from refbench.contracts.need import Gives, Need
from refbench.registry import hookspecs
from refbench.registry.loader import RECORD_TYPES, Options, Plugin
from refbench.registry.records import MethodRecord, RunEvent, resolve
from refbench.registry.registry import Registries, Registry, build_registries, load_registry
from refbench.registry.requirements import check_packages, missing_packages


def record(name, **more):
    return MethodRecord(name, "os.path:join", "A test.", (Need.DSM,), (Gives.DSM,), **more)


def plugin(*names, reason=None, **more):
    return Plugin("p", "dist", "1.0", {"methods": tuple(record(name) for name in names)}, reason=reason, **more)


def test_look_up_by_name():
    registry = Registry("methods", (plugin("alpha", "beta"),))
    assert registry.names() == ("alpha", "beta") and len(registry) == 2
    assert [item.name for item in registry] == ["alpha", "beta"]
    assert registry["beta"] is registry.get("beta")
    assert "alpha" in registry and "gamma" not in registry
    assert registry.get("alpha").load() is resolve("os.path:join")


def test_an_unknown_name_gets_near_misses_and_the_plugins_that_failed():
    broken = Plugin("other", "dist-other", "2.0", reason="ModuleNotFoundError: No module named 'x'")
    registry = Registry("methods", (plugin("median", "bilateral"), broken))
    with pytest.raises(UnknownNameError) as caught:
        registry.get("Meidan")
    message = str(caught.value)
    assert "median" in message and "bilateral" not in message
    assert "other" in message and "No module named" in message
    assert isinstance(caught.value, InputError) and isinstance(caught.value, LookupError)


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(UnknownNameError, match="alpha, beta"):
        Registry("methods", (plugin("alpha", "beta"),)).get("zzzzzz")


@pytest.mark.parametrize("target", ["os.path", ":join", "os.path:"])
def test_a_target_without_two_parts_is_refused(target):
    with pytest.raises(ValueError, match="module:name"):
        resolve(target)


def test_an_observer_that_raises_becomes_a_warning_and_the_others_still_hear():
    heard = []

    def failing(event):
        raise RuntimeError("no")

    plugins = (plugin(observe=failing), plugin(observe=lambda event: heard.append(event)))
    registries = Registries(**{kind: Registry(kind, plugins) for kind in RECORD_TYPES}, plugins=plugins)
    event = RunEvent("run_started", "m", "s")
    with pytest.warns(RuntimeWarning, match="run_started"):
        registries.notify(event)
    assert heard == [event]


def test_a_file_plugin_observes_runs(tmp_path):
    file = tmp_path / "observing_plugin.py"
    file.write_text(
        "from refbench import hookimpl\nseen = []\n@hookimpl\ndef refbench_event(event):\n    seen.append(event.kind)\n"
    )
    registries = build_registries(Options(files=(file,)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registries.notify(RunEvent("run_ended", "m", "s"))
    assert sys.modules["observing_plugin"].seen == ["run_ended"]


def test_every_hook_says_when_it_is_called():
    hooks = [getattr(hookspecs, name) for name in dir(hookspecs) if name.startswith("refbench_")]
    assert len(hooks) == 6
    assert all("called" in hook.__doc__.lower() for hook in hooks)
    assert {f"refbench_{kind}" for kind in RECORD_TYPES} < {hook.__name__ for hook in hooks}


def test_refbench_has_no_broken_plugin_of_its_own():
    assert build_registries(Options(third_party=False)).broken == ()


def test_a_missing_package_names_the_extra():
    needy = record("needy", packages=("os", "no_such_package_xyz"), extras=("needy",))
    assert missing_packages(needy) == ("no_such_package_xyz",)
    with pytest.raises(MissingExtraError, match=r"no_such_package_xyz.*refbench\[needy\]"):
        check_packages(needy)
    check_packages(record("modest", packages=("os",)))


def test_every_target_of_the_own_records_can_be_resolved():
    registry = load_registry()
    records = [*registry.methods, *registry.importers, *registry.reporters, *registry.verbs, *registry.assessors]
    targets = [
        value
        for record in records
        for value in (getattr(record, field.name) for field in dataclasses.fields(record))
        if isinstance(value, str) and re.fullmatch(r"refbench[\w.]*:\w+", value)
    ]
    assert len(targets) > 20
    for target in targets:
        if not target.endswith(":weights"):
            assert resolve(target), target
