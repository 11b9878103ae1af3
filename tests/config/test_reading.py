"""YAML as people write it: floats, repeated keys, `extends`, overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.config.reading import (
    Layers,
    apply_overrides,
    dump_yaml,
    key_of,
    merge,
    override_of,
    parse_yaml,
    read_layers,
    read_mapping,
)
from comp.errors import ConfigError

TREES = st.dictionaries(
    st.sampled_from("abcd"),
    st.integers() | st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=3),
    max_size=4,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("3E-4", 3e-4),
        ("1e3", 1000.0),
        (".5e-1", 0.05),
        ("-2e+2", -200.0),
        ("1.5e-3", 0.0015),
        ("0.1", 0.1),
    ],
)
def test_floats_as_people_write_them(text: str, value: float) -> None:
    read = parse_yaml(f"lr: {text}", "x.yaml")["lr"]
    assert isinstance(read, float) and read == value


@pytest.mark.parametrize("text", ["e5", "1e", "'1e-5'", "1e-5x", "v1e5"])
def test_what_only_looks_like_a_float_stays_text(text: str) -> None:
    assert isinstance(parse_yaml(f"x: {text}", "x.yaml")["x"], str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_prints(value: float) -> None:
    assert parse_yaml(f"x: {value!r}", "x.yaml")["x"] == value


def test_a_key_said_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml: line 3: key 'lr' is said twice"):
        parse_yaml("lr: 1\nother: 2\nlr: 3\n", "x.yaml")
    with pytest.raises(ConfigError, match="line 3: key 'lr' is said twice"):
        parse_yaml("optim:\n  lr: 1\n  lr: 2\n", "x.yaml")


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\t- x", "a: *nobody", "? [1]\n: 2"])
def test_broken_yaml_is_the_users_mistake(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        parse_yaml(text, "x.yaml")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "a: !ruby/x 1"]
)
def test_yaml_runs_no_code(text: str) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        parse_yaml(text, "x.yaml")


@given(TREES, TREES)
def test_merge(base: dict, change: dict) -> None:
    before = repr((base, change))
    merged = merge(base, change)
    assert set(merged) == set(base) | set(change)
    assert merge(base, {}) == base and merge({}, change) == change
    for key, value in change.items():
        if not (isinstance(value, dict) and isinstance(base.get(key), dict)):
            assert merged[key] == value
    assert repr((base, change)) == before  # arguments are left alone


def test_extends_is_a_deep_merge(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("optim: {name: Adam, lr: 1e-3}\naugment: [A, B]\n")
    (tmp_path / "mid.yaml").write_text("extends: base.yaml\noptim: {lr: 1e-4}\n")
    (tmp_path / "leaf.yaml").write_text("extends: mid.yaml\naugment: [C]\n")
    assert read_mapping(tmp_path / "leaf.yaml") == {
        "optim": {"name": "Adam", "lr": 1e-4},
        "augment": ["C"],
    }


def test_extends_that_returns_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"extends itself: a\.yaml -> b\.yaml -> a\.yaml"):
        read_mapping(tmp_path / "a.yaml")


def test_extends_of_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: none.yaml\n")
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        read_mapping(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("extends: [a.yaml, c.yaml]\n")
    with pytest.raises(ConfigError, match="expected one file name"):
        read_mapping(tmp_path / "b.yaml")


def test_a_config_is_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="expected a mapping of sections, got list"):
        read_mapping(tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_mapping(tmp_path / "empty.yaml") == {}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs=3", {"train": {"epochs": 3, "size": [1, 2]}, "loss": {"dice": 0.4}}),
        ("train.size.1=9", {"train": {"epochs": 1, "size": [1, 9]}, "loss": {"dice": 0.4}}),
        ("loss.dice.smooth=1e-5", {"loss": {"dice": {"weight": 0.4, "smooth": 1e-5}}}),
        ("model.encoder_weights=null", {"model": {"encoder_weights": None}}),
        ("train.size=[3, 4]", {"train": {"epochs": 1, "size": [3, 4]}}),
        ("x.y=a=b", {"x": {"y": "a=b"}}),
    ],
)
def test_overrides(override: str, expected: dict) -> None:
    values = {"train": {"epochs": 1, "size": [1, 2]}, "loss": {"dice": 0.4}}
    got, problems = apply_overrides(values, (override,))
    assert problems == [] and {key: got[key] for key in expected} == expected
    assert values == {"train": {"epochs": 1, "size": [1, 2]}, "loss": {"dice": 0.4}}


def test_an_override_below_a_transform_that_is_named_alone() -> None:
    got, problems = apply_overrides({"augment": ["Flip", "Blur"]}, ("augment.1.Blur.p=1",))
    assert problems == [] and got == {"augment": ["Flip", {"Blur": {"p": 1}}]}
    _, (problem,) = apply_overrides({"augment": ["Flip"]}, ("augment.0.Blur.p=1",))
    assert "'Blur' is below a plain value ('Flip')" in problem


def test_malformed_overrides_are_reported_together() -> None:
    wrong = ("epochs", "a..b=1", "train.size.7=1", "train.size.x=1", "name.x=1", "y=[1")
    before = {"train": {"size": [1, 2]}, "name": "text"}
    got, problems = apply_overrides(before, (*wrong, "name=new"))
    assert got == {"train": {"size": [1, 2]}, "name": "new"} and before["name"] == "text"
    assert len(problems) == len(wrong)
    for override, problem in zip(wrong, problems, strict=True):
        assert problem.startswith(f"-o {override}")


def test_every_value_has_a_source(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("optim: {name: Adam, lr: 1}\naugment: [A, {B: }]\n")
    (tmp_path / "leaf.yaml").write_text("extends: base.yaml\noptim: {lr: 2}\nloss: {dice: 1}\n")
    leaf, base = str(tmp_path / "leaf.yaml"), str(tmp_path / "base.yaml")
    said = ("loss.bce=1", "train.epochs=3", "train.epochs=4", "augment.1.B.p=0", "y")
    layers = read_layers(tmp_path / "leaf.yaml", said)
    assert layers.problems == ("-o y: expected key=value, such as train.epochs=3",)
    assert layers.values["train"] == {"epochs": 4} and layers.values["optim"]["lr"] == 2
    assert layers.file_values["loss"] == {"dice": 1}
    for loc, source in (
        (("optim", "lr"), leaf),
        (("optim", "name"), base),
        (("optim", "nothing"), leaf),
        (("augment", 0, "A"), base),
        (("augment", 1, "B", "p"), "-o augment.1.B.p=0"),
        (("loss", "dice", "weight"), leaf),
        (("loss", "bce", "weight"), "-o loss.bce=1"),
        (("train", "epochs"), "-o train.epochs=4"),
        (("loss",), f"{leaf} with -o loss.bce=1"),
        (("nowhere",), leaf),
    ):
        assert layers.source_of(loc) == source
    assert layers.blame("augment[0] A: wrong") == f"{base}: augment[0] A: wrong"


def test_keys_and_the_overrides_that_set_them() -> None:
    assert key_of("loss.dize: unknown: really") == ("loss", "dize")
    assert key_of("augment[2] Flip: no") == ("augment", "2")
    assert override_of(("train", "size", "0"), ("train.size=[1, 2]", "x=1")) == "train.size=[1, 2]"
    assert override_of(("train",), ("train.size=[1, 2]",)) is None


@given(TREES, TREES, st.lists(st.sampled_from(["a=1", "b.c=2", "d.a=3", "c.b=x"]), max_size=4))
def test_the_source_of_a_value_holds_it(base: dict, change: dict, overrides: list) -> None:
    files = (("base", base), ("leaf", change))
    values, told = merge(base, change), tuple(overrides)
    for override in told:
        values, problems = apply_overrides(values, (override,))
        if problems:
            return
    layers = Layers(files, told, values)
    for key, value in values.items():
        for loc, last in [((key,), value), *(((key, k), v) for k, v in _items(value))]:
            if not isinstance(last, dict):
                source = layers.source_of(loc)
                assert source.startswith("-o ") or source in ("base", "leaf")
                if source in ("base", "leaf"):
                    assert _at(dict(files)[source], loc) == last


def _items(value: object) -> list:
    return list(value.items()) if isinstance(value, dict) else []


def _at(node: object, loc: tuple) -> object:
    for part in loc:
        if not isinstance(node, dict):
            return node
        node = node.get(part)
    return node


@given(st.dictionaries(st.text("ab1e-5.: #", min_size=1), TREES | st.text("1e-5+.onyx_ #:")))
def test_what_is_dumped_reads_back(values: dict) -> None:
    assert parse_yaml(dump_yaml(values), "here") == values


def test_text_like_a_number_is_quoted() -> None:
    assert dump_yaml({"a": "1e-5", "b": 1e-5}) == "a: '1e-5'\nb: 1.0e-05\n"
    size = [64, 64]
    assert dump_yaml({"a": size, "b": size}) == "a: [64, 64]\nb: [64, 64]\n"
    assert dump_yaml({"extends": "m.yaml"}) == "extends: m.yaml\n"
    assert dump_yaml({"a": {"b": [1, 2], "c": {"d": 1}}}) == "a:\n  b: [1, 2]\n  c: {d: 1}\n"


def laughs(n: int, mapping: bool = False) -> str:
    """Nine times nine times ... n times: a few hundred letters that say 9**n values."""
    lines = ["a0: &a0 {k: v}" if mapping else "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, n):
        each = [f"k{j}: *a{i - 1}" if mapping else f"*a{i - 1}" for j in range(9)]
        inner = ", ".join(each)
        lines.append(f"a{i}: &a{i} " + (f"{{{inner}}}" if mapping else f"[{inner}]"))
    return "\n".join(lines)


@pytest.mark.parametrize("mapping", [False, True])
def test_aliases_that_grow_without_end_are_refused(tmp_path: Path, mapping: bool) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml: its aliases \(\*name\) repeat values many"):
        parse_yaml(laughs(9, mapping), "x.yaml")
    parse_yaml(laughs(4, mapping), "x.yaml")
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: *x", "x.yaml")["c"] == [1, 2]
    (tmp_path / "c.yaml").write_text(laughs(9, mapping) + "\naugment: *a8\n")
    with pytest.raises(ConfigError, match="its aliases"):
        read_mapping(tmp_path / "c.yaml")


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: [*a]}", "a: &a [1, {b: *a}]"])
def test_an_alias_within_what_it_names_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml: an alias \(\*name\) stands within"):
        parse_yaml(text, "x.yaml")


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 5_000, "[" * 3_000 + "]" * 3_000])
def test_depths_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.yaml: not YAML"):
        parse_yaml(text, "x.yaml")


def test_long_lists_without_aliases_are_read() -> None:
    assert len(parse_yaml(f"a: [{'1, ' * 30_000}]", "x.yaml")["a"]) == 30_000
    assert parse_yaml("", "x.yaml") is None
