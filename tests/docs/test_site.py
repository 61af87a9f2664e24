"""Nothing that a user can name is without a word of what it is, and the field log names tests that exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from site_pages import pages
from site_pages.commands import commands, option_lines
from site_pages.fields import entry, flat_rows, own_rows
from site_pages.files import RESULT, SCENE, SUITE
from site_pages.methods import OWN, option_rows, records_of
from site_pages.plugins import RECORDS, hooks

import refbench
from refbench.cli.main import VERBS
from refbench.evaluation.metrics import METRICS
from refbench.registry import hookspecs
from refbench.registry.registry import load_registry

DOCS = Path(__file__).parents[2] / "docs"
TESTS = Path(__file__).parents[1]
INTERNAL = {"REFBENCH_CONFIG_SHA256", "REFBENCH_METHOD", "REFBENCH_VERTICAL"}
"""Names of tags in rasters."""


@pytest.fixture(scope="module")
def made():
    return pages()


def test_every_configuration_key_says_what_it_is(made):
    own = [record for plugin in OWN for record in records_of(plugin)]
    assert {record.name for record in own} == {record.name for record in load_registry().methods}
    rows = [(record.name, row) for record in own for row in option_rows(record)]
    assert [(name, row.key) for name, row in rows if not row.meaning] == []
    for plugin in OWN:
        for record in records_of(plugin):
            text = made[f"options-{plugin}.md"]
            assert all(f"| `{row.key}` |" in text for row in option_rows(record))


def test_every_method_has_a_page_of_every_section():
    for plugin in OWN:
        text = (DOCS / "methods" / f"{plugin}.md").read_text()
        for title in ("Options", "Cost", "Licence", "Published numbers", "Defects of the original"):
            assert re.search(rf"^## {title}", text, re.MULTILINE), (plugin, title)
        assert f"generated/options-{plugin}.md" in text and f"generated/record-{plugin}.md" in text
        assert len(text.splitlines()) < 200


def test_published_numbers_have_a_source_or_a_reason():
    """What a record says stands on the method's page; a re-implementation says what could not be had."""
    for plugin in OWN:
        (text,) = re.findall(
            r"## Published numbers\n(.*?)\n## ", (DOCS / "methods" / f"{plugin}.md").read_text(), re.DOTALL
        )
        for record in records_of(plugin):
            assert record.official is None or record.reported or record.unreported, record.name
            assert not record.unreported or "none available" in text
            for number in record.reported:
                assert number.source and number.table and number.dataset and number.protocol
                assert f"{number.value:g}" in text or number.value == 0.5, (record.name, number.metric)


def test_every_key_of_scenes_suites_and_results_says_what_it_is(made):
    for page, models in (("scene.md", SCENE), ("suite.md", SUITE), ("result.md", RESULT)):
        for model in models.values():
            for row in own_rows(model):
                assert row.meaning, (model.__name__, row.key)
                assert f"| `{row.key}` |" in made[page]


def test_the_pages_of_files_know_every_nested_model():
    """A dataclass that a key leads to has a table of its own."""
    for models in (SCENE, SUITE, RESULT):
        names = {model.__name__ for model in models.values()}
        (module,) = {model.__module__ for model in models.values()}
        classes = {
            name
            for name, value in vars(sys.modules[module]).items()
            if isinstance(value, type) and value.__module__ == module and not name.startswith("_") and name != "Status"
        }
        assert classes == names


def test_every_verb_and_option_says_what_it_is(made):
    found = {words for words, _, _ in commands()}
    assert {f"refbench {verb}" for verb in VERBS} < found
    assert {f"refbench {verb.name}" for verb in load_registry().verbs} < found
    for words, command, context in commands():
        assert command.help, words
        assert f"\n## {words}\n" in made["cli.md"]
        for spelling, meaning in option_lines(command, context):
            assert meaning and entry(spelling) in made["cli.md"], (words, spelling)


def test_every_hook_and_record_says_what_it_is(made):
    marked = {name for name, value in vars(hookspecs).items() if callable(value) and name.startswith("refbench_")}
    assert set(hooks()) == marked and all(hooks().values())
    assert all(f"\n## {name}\n" in made["hooks.md"] for name in marked)
    for record in RECORDS:
        assert f"\n## {record.__name__}\n" in made["records.md"]
        assert [row.key for row in own_rows(record) if not row.meaning] == []


def test_every_metric_and_score_stands_with_its_formula(made):
    for key, metric in METRICS.items():
        assert f"| `{key}` |" in made["metrics.md"] and metric.formula
    for assessor in load_registry().assessors:
        assert all(f"| `{score.key}` |" in made["metrics.md"] and score.summary for score in assessor.scores)


def test_every_public_name_is_in_the_api(made):
    assert all(re.search(rf":: refbench\.{name}$", made["api.md"], re.MULTILINE) for name in refbench.__all__)


def test_every_environment_variable_is_on_its_page():
    source = [path for root in ("core", "plugins") for path in (DOCS.parent / root).rglob("*.py")]
    named = {name for path in source for name in re.findall(r"\bREFBENCH_[A-Z0-9_]+\b", path.read_text())} - INTERNAL
    page = (DOCS / "reference" / "environment.md").read_text()
    assert named and [name for name in sorted(named) if f"`{name}`" not in page] == []


def test_every_page_is_in_the_table_of_contents(made):
    index = (DOCS / "index.md").read_text()
    written = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    written = {name for name in written if not name.startswith(("_build", "generated"))} - {"index"}
    included = {f"generated/{Path(name).stem}" for name in made if not name.startswith(("options-", "record-"))}
    listed = set(re.findall(r"^[a-z_]+(?:/[a-z0-9_]+)?$", index, re.MULTILINE))
    assert listed == written | included


def test_every_test_of_the_field_log_exists():
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "field_log.md").read_text()))
    there = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    assert len(named) > 60 and sorted(named - there) == []


def test_a_field_without_a_word_is_noticed():
    """The tables are not filled by accident: a field that nobody explains has no meaning."""
    folder = Path(__file__).parent / "unexplained.py"
    spec = importlib.util.spec_from_file_location("unexplained", folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules["unexplained"] = module
    spec.loader.exec_module(module)
    told = {row.key: row.meaning for row in flat_rows(module.Config)}
    assert told == {"below": "A string below.", "named": "`named` is told above.", "silent": "", "inner.deep": "Deep."}


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-W", "-b", "html", str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "generated" / "cli.html").is_file()
