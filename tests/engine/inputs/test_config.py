import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.contracts.need import Gives, Need
from refbench.contracts.official import NoOfficialFiles, OfficialConfig
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.shipped_configs import shipped_configs
from refbench.files.config_keys import config_keys
from refbench.files.yaml_text import parse_yaml
from refbench.registry.records import MethodRecord, resolve
from refbench.registry.registry import load_registry


class Mode(Enum):
    FAST = "fast"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Fusion:
    weight: float = 1.0
    kind: Literal["mean", "max"] = "mean"


@dataclass(frozen=True, slots=True)
class Config:
    size: int = 5
    flag: bool = False
    label: str = "x"
    span: tuple[float, float] = (0.0, 1.0)
    mode: Mode = Mode.EXACT
    file: Path | None = None
    fusion: Fusion = field(default_factory=Fusion)
    second: Fusion | None = None

    def __post_init__(self):
        if self.size % 2 == 0:
            raise ValueError(f"size must be odd, got {self.size}")


def record(**more):
    return MethodRecord("m", "a:B", "A test.", (Need.DSM,), (Gives.DSM,), config=f"{__name__}:Config", **more)


class Files(NoOfficialFiles):
    """Official files of one line, ``OFFICIAL <size>``; counts how often one is read."""

    read = 0

    def read_config(self, path):
        text = path.read_text()
        if not text.startswith("OFFICIAL"):
            return None
        Files.read += 1
        return OfficialConfig(path, {"size": int(text.split()[1])}, ("wandb was dropped",))


def test_without_a_source_the_defaults_hold():
    resolved = load_config(record())
    assert resolved.instance == Config()
    assert resolved.source == "defaults"
    assert resolved.values["fusion"] == {"weight": 1.0, "kind": "mean"}
    json.dumps(resolved.values)


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("size: 7\nfusion: {weight: 1e-3, kind: max}\nspan: [1, 2]\nmode: fast\nfile: a/b.tif\n")
    resolved = load_config(record(), file, {"fusion.weight": 2, "flag": True})
    expected = Config(7, True, "x", (1.0, 2.0), Mode.FAST, Path("a/b.tif"), Fusion(2.0, "max"))
    assert resolved.instance == expected
    assert isinstance(resolved.instance.fusion.weight, float)
    assert resolved.source == str(file)


def test_what_was_resolved_resolves_to_itself(tmp_path):
    first = load_config(record(), None, {"fusion.kind": "max", "second.weight": 3, "span": [0.5, 2]})
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(first.values))
    assert load_config(record(), file).instance == first.instance


def test_base_is_relative_to_the_file_and_mappings_merge(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "root.yaml").write_text("size: 9\nfusion: {weight: 3.0, kind: max}\nspan: [3, 4]\n")
    (tmp_path / "sub" / "middle.yaml").write_text("base: ../root.yaml\nfusion: {weight: 4.0}\n")
    (tmp_path / "leaf.yaml").write_text("base: sub/middle.yaml\nspan: [5, 6]\n")
    got = load_config(record(), tmp_path / "leaf.yaml").instance
    assert (got.size, got.fusion, got.span) == (9, Fusion(4.0, "max"), (5.0, 6.0))


def test_a_circle_of_bases_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ConfigError, match=r"a\.yaml -> b\.yaml -> a\.yaml"):
        load_config(record(), tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("sise: 7", "sise", "size"),
        ("fusion: {wieght: 1}", "fusion.wieght", "fusion.weight"),
        ("second: {kinds: mean}", "second.kinds", "second.kind"),
        ("weight: 2", "weight", "weight"),
        ("zzz: 2", "zzz", "size"),
    ],
)
def test_an_unknown_key_names_file_path_and_nearest_key(tmp_path, text, key, nearest):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(record(), file)
    message = str(caught.value)
    assert str(file) in message and f"unknown key {key};" in message
    assert nearest in message.partition("did you mean")[2]


@pytest.mark.parametrize(
    "text",
    [
        "size: '7'",
        "size: 7.5",
        "size: true",
        "size: null",
        "flag: 1",
        "flag: 'yes'",
        "label: 3",
        "span: [1]",
        "span: 3",
        "mode: slow",
        "fusion: 3",
        "fusion: {kind: median}",
        "fusion: {weight: heavy}",
    ],
)
def test_an_ill_typed_value_names_file_and_path(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    path = ".".join(key.strip() for key in text.replace("{", "").split(":")[:-1])
    with pytest.raises(ConfigError) as caught:
        load_config(record(), file)
    assert str(file) in str(caught.value) and f": {path}" in str(caught.value)


def test_the_mistake_is_blamed_on_the_file_that_made_it(tmp_path):
    (tmp_path / "base.yaml").write_text("fusion: {wieght: 1}\n")
    (tmp_path / "leaf.yaml").write_text("base: base.yaml\nsize: 7\n")
    with pytest.raises(ConfigError, match=r"base\.yaml: unknown"):
        load_config(record(), tmp_path / "leaf.yaml")
    with pytest.raises(ConfigError, match=r"^--set: size"):
        load_config(record(), None, {"size": "x"})


def test_a_rule_of_the_dataclass_is_a_config_error():
    with pytest.raises(ConfigError, match="size must be odd, got 4"):
        load_config(record(), None, {"size": 4})


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "just text", "!!python/object/apply:os.system ['true']"])
def test_what_is_no_mapping_or_no_plain_yaml_is_refused(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(record(), file)


@pytest.mark.parametrize("base", ["absent.yaml", "3"])
def test_a_base_that_is_not_there_is_refused(tmp_path, base):
    file = tmp_path / "c.yaml"
    file.write_text(f"base: {base}\n")
    with pytest.raises((MissingFileError, ConfigError), match=r"c\.yaml"):
        load_config(record(), file)


def test_an_empty_file_changes_nothing(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("# nothing\n")
    assert load_config(record(), file).instance == Config()


def test_an_official_file_is_translated_with_its_notes(tmp_path):
    official, own = tmp_path / "official.yaml", tmp_path / "own.yaml"
    official.write_text("OFFICIAL 11")
    own.write_text("size: 13")
    resolved = load_config(record(official=f"{__name__}:Files"), official, {"flag": True})
    assert (resolved.instance.size, resolved.instance.flag) == (11, True)
    assert resolved.notes == ("wandb was dropped",)
    assert load_config(record(official=f"{__name__}:Files"), own).instance.size == 13


def test_a_method_without_configuration_takes_no_key():
    bare = MethodRecord("m", "a:B", "A test.", (), ())
    assert load_config(bare).instance is None
    with pytest.raises(ConfigError, match="takes no configuration"):
        load_config(bare, None, {"size": 3})


def test_shipped_names_and_near_misses():
    fill = load_registry().methods.get("fill")
    assert load_config(fill, "fill-idw").instance.kind == "idw"
    assert load_config(fill, "fill-idw").source == "fill-idw"
    with pytest.raises(MissingFileError, match="fill-idw"):
        load_config(fill, "fill-iwd")
    with pytest.raises(MissingFileError, match="ships none"):
        load_config(record(), "absent.yaml")


SHIPPED = [(method.name, name) for method in load_registry().methods for name in shipped_configs(method)]


@pytest.mark.parametrize(("method", "name"), SHIPPED)
def test_every_shipped_configuration_is_valid(method, name):
    assert load_config(load_registry().methods.get(method), name).instance is not None


@pytest.mark.parametrize("method", [method for method, name in SHIPPED if method == name])
def test_a_shipped_configuration_called_like_its_method_holds_the_defaults(method):
    found = load_registry().methods.get(method)
    assert load_config(found, method).instance == resolve(found.config)()


def test_keys_are_listed_with_type_and_default():
    keys = {key: (kind, default) for key, kind, default in config_keys(Config)}
    assert keys["size"] == ("int", 5)
    assert keys["fusion.weight"] == ("float", 1.0)
    assert keys["second.kind"][1] == "mean"
    assert "fusion" not in keys


@given(st.floats(allow_nan=False))
def test_every_way_to_write_a_float_is_read_as_one(value):
    assert parse_yaml(repr(value).replace("inf", ".inf")) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("5E4", 5e4), ("1.", 1.0), (".5", 0.5), ("7", 7), ("1e", "1e"), ("1_0", 10), ("v1.2", "v1.2")],
)
def test_yaml_scalars(text, value):
    got = parse_yaml(text)
    assert got == value and type(got) is type(value)
