"""One reader for scenes, suites, configurations and options: its dialect, and what it refuses."""

import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.engine.inputs.config import load_config
from refbench.engine.sweeps.suite import load_suite
from refbench.files.json_text import parse_json
from refbench.files.yaml_file import read_mapping
from refbench.files.yaml_text import MAX_DEPTH, parse_yaml, yaml_document, yaml_value
from refbench.registry.registry import load_registry
from refbench.scenes.scene_yaml import load_scene

SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
BOMB = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{name}: &{name} [{', '.join(['*' + last] * 9)}]" for last, name in zip("abcdefgh", "bcdefghi", strict=True)]
)
MERGE_BOMB = "\n".join(
    ["a: &a {k: v}"]
    + [
        f"{name}: &{name} {{<<: [{', '.join(['*' + last] * 9)}]}}"
        for last, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)
DEEP = {
    "flow lists": "a: " + "[" * 10_000 + "]" * 10_000,
    "flow mappings": "a: " + "{b: " * 10_000 + "}" * 10_000,
    "block lists": "- " * 10_000,
    "unclosed": "[" * 10_000,
}


def scene(path):
    return load_scene(path)


def config(path):
    return load_config(load_registry().methods.get("median"), path)


READERS = {"scene": scene, "suite": load_suite, "config": config, "mapping": read_mapping}


@pytest.fixture(params=READERS.values(), ids=READERS.keys())
def reader(request):
    return request.param


@settings(max_examples=200, deadline=None)
@given(st.recursive(SCALAR, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=12))
@example({"\n": "a\nb", "\u2028": ["\x85", "x\r\n"]})
def test_a_value_comes_back_from_one_line(value):
    line = yaml_value(value)
    assert "\n" not in line and parse_yaml(line) == value


@pytest.mark.parametrize("text", ["5e-1", "+5E-1", ".5", "0.5", "50e-2"])
def test_a_float_is_one_however_it_is_written(text):
    assert parse_yaml(text) == 0.5


@pytest.mark.parametrize("text", ["1e", "e5", "1.2.3", "5 m"])
def test_what_is_no_number_stays_text(text):
    assert parse_yaml(text) == text


def test_files_of_yaml_1_1_keep_its_floats_under_the_same_bounds():
    assert parse_yaml("[1e-3, 1.0e-3, 5]", yaml_1_1=True) == ["1e-3", 0.001, 5]
    for text in (BOMB, *DEEP.values(), "a: 1\na: 2", "9" * 5000):
        with pytest.raises(yaml.YAMLError):
            parse_yaml(text, yaml_1_1=True)


def test_infinities_and_nan_are_numbers():
    assert parse_yaml("[.inf, -.inf]") == [math.inf, -math.inf] and math.isnan(parse_yaml(".nan"))


@pytest.mark.parametrize("text", [BOMB, MERGE_BOMB, *DEEP.values()], ids=["aliases", "merges", *DEEP])
def test_a_bomb_is_refused_at_once_by_every_reader(tmp_path, reader, text):
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="the file looks maliciously nested"):
        reader(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dsm: a.tif\ndsm: b.tif", "the key dsm is given twice"),
        ("a: {b: 1, c: 2, b: 3}", "the key b is given twice"),
        ("- {x: 1, 'x': 2}", "the key x is given twice"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: -" + "1" * 500 + ".5", "a number of 503 digits"),
        ("a: 0x" + "f" * 5000, "a number of 5002 digits"),
        ("a: &a [*a]", "an alias stands inside of what it names"),
        ("a: &a {b: *a}", "an alias stands inside of what it names"),
        ("a: 2024-99-99", "a value that is none"),
        ("a: !!timestamp x", "a value that is none"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("a: [1, 2", "expected"),
        ("a: \x00", "special characters are not allowed"),
    ],
    ids=range(13),
)
def test_what_is_refused_says_why(tmp_path, reader, text, words):
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        reader(path)


def test_merged_keys_may_be_replaced_and_plain_aliases_stand():
    text = "base: &b {a: 1, c: 2}\nown: {<<: *b, a: 3}\nsame: *b"
    assert parse_yaml(text) == {"base": {"a": 1, "c": 2}, "own": {"a": 3, "c": 2}, "same": {"a": 1, "c": 2}}


def test_nesting_up_to_the_bound_is_read():
    depth = MAX_DEPTH - 1
    value = parse_yaml("[" * depth + "]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []
    with pytest.raises(yaml.YAMLError, match="maliciously"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_ten_thousand_entries_are_no_bomb():
    assert len(parse_yaml("\n".join(f"view_{n}: {{image: v{n}.png, camera: v{n}.yaml}}" for n in range(2000)))) == 2000


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(MissingFileError, match="There is no file"):
        read_mapping(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"latin\.yaml is not valid YAML"):
        read_mapping(tmp_path / "latin.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_mapping(tmp_path / "empty.yaml", may_be_empty=True) == {}
    with pytest.raises(ConfigError, match="must be a mapping"):
        read_mapping(tmp_path / "empty.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "maliciously nested"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key c is given twice"),
        ("{", "Expecting property name"),
    ],
)
def test_json_is_read_under_the_same_rules(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    assert parse_json('{"a": [{"b": 1}, {"b": 2}]}') == {"a": [{"b": 1}, {"b": 2}]}


@pytest.mark.parametrize("name", ["008", "010", "1e3", "5e-1", "null", "yes", "2024-01-01", "0x10", "1_000", "a: b"])
def test_names_that_look_like_numbers_come_back_as_texts(name):
    content = {"views": {name: {"image": name}}}
    assert parse_yaml(yaml_document(content)) == content
