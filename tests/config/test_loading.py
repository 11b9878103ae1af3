"""YAML file -> checked object: all mistakes at once, with the key and the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from comp.config import (
    Competition,
    ModelConfig,
    check,
    config_hash,
    data_root,
    differences,
    find_config,
    load_competition,
    load_model,
    resolved,
)
from comp.config.loading import PartlyWrongError
from comp.errors import ConfigError, DataError
from comp.files import Workspace

COMPETITION = """
name: toy
task: binary
classes: [roof]
data:
  root: data
  train: [{images: "images/{id}.png", masks: "masks/{id}.png"}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "configs" / "competitions").mkdir(parents=True)
    (tmp_path / "configs" / "competition.yaml").write_text(COMPETITION)
    other = COMPETITION.replace("name: toy", "name: landfill")
    (tmp_path / "configs" / "competitions" / "landfill.yaml").write_text(other)
    (tmp_path / "configs" / "unet.yaml").write_text("train: {epochs: 3}\n")
    return tmp_path


def problems(path: Path, text: str, overrides: tuple[str, ...] = ()) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_model(path, overrides)
    return caught.value.problems


def test_all_mistakes_at_once_with_file_key_and_hint(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    found = problems(
        path,
        "optimzer: {lr: 1e-3}\n"
        "train: {epoch: 3, batch_size: two, size: [0, 4]}\n"
        "optim: {lr: -1}\n"
        "predict: {Weights: last}\n",
    )
    assert all(line.startswith(f"{path}: ") for line in found)
    text = "\n".join(found)
    assert "optimzer: unknown key; did you mean 'optim'?" in text
    assert "train.epoch: unknown key; did you mean 'epochs'?" in text
    assert "predict.Weights: unknown key; did you mean 'weights'?" in text
    assert "train.batch_size" in text and "got 'two'" in text
    assert "train.size.0" in text and "optim.lr" in text
    assert len(found) == 6


def test_no_near_key_lists_the_known_ones(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "bad.yaml", "zzzzzz: 1\n")
    assert "known: augment, loss, model, optim, predict, schedule, train, tune, tuned" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {epochs: true}", "train.epochs"),
        ("train: {epochs: 2.0}", "train.epochs"),
        ("train: {epochs: '3'}", "train.epochs"),
        ("train: {precision: fp8}", "train.precision"),
        ("train: {scale_jitter: [2, 1]}", "low <= high"),
        ("loss: {}", "loss"),
        ("loss: {dice: -1}", "loss.dice.weight"),
        ("augment: [{A: {}, B: {}}]", "each transform is one"),
        ("model: {head: relu}", "model.head"),
        ("model: 3", "model"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, text: str, says: str) -> None:
    assert says in "\n".join(problems(tmp_path / "bad.yaml", text + "\n"))


def test_an_override_is_checked_like_the_file(tmp_path: Path) -> None:
    assert "train.epochs" in problems(tmp_path / "x.yaml", "", ("train.epochs=many",))[0]
    assert "did you mean 'epochs'" in problems(tmp_path / "x.yaml", "", ("train.epoks=3",))[0]


def test_overrides_reach_the_config(root: Path) -> None:
    config = load_model(root / "configs" / "unet.yaml", ("optim.lr=1e-5", "loss.dice=0.5"))
    assert config.train.epochs == 3
    assert config.optim.lr == 1e-5
    assert config.loss["dice"].weight == 0.5


def test_short_forms(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("loss: {dice: 0.4, bce:}\naugment: [HorizontalFlip, {D4: }]\n")
    config = load_model(tmp_path / "x.yaml")
    assert config.loss["dice"].weight == 0.4 and config.loss["bce"].weight == 1.0
    assert config.augment == ({"HorizontalFlip": {}}, {"D4": {}})


def test_open_sections_keep_the_keywords_of_what_they_name(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("optim: {name: SGD, momentum: 0.9, eps: 1e-8}\n")
    assert load_model(tmp_path / "x.yaml").optim.kwargs == {"momentum": 0.9, "eps": 1e-8}


def test_a_config_is_frozen(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("")
    config = load_model(tmp_path / "x.yaml")
    with pytest.raises(ValueError):
        config.train = None  # type: ignore[assignment]


def test_the_hash_is_of_the_meaning(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("optim: {lr: 1e-4}\ntrain: {epochs: 20}\n")
    (tmp_path / "b.yaml").write_text("# the default said aloud\noptim:\n  lr: 0.0001\n")
    a, b = load_model(tmp_path / "a.yaml"), load_model(tmp_path / "b.yaml")
    assert config_hash(a) == config_hash(b)
    changed = load_model(tmp_path / "a.yaml", ("train.seed=1",))
    assert config_hash(changed) != config_hash(a)
    assert differences(resolved(a), resolved(changed)) == ["train.seed: 0 -> 1"]
    assert check(ModelConfig, resolved(a), "again") == a


def test_find_config(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "configs" / "unet.yaml"
    assert find_config(root, "unet.yaml") == path
    assert find_config(root, "unet") == path
    assert find_config(root, str(path)) == path
    with pytest.raises(ConfigError, match=r"no config 'unnet\.yaml'.*did you mean 'unet\.yaml'"):
        find_config(root, "unnet.yaml")
    with pytest.raises(ConfigError, match=r"found there: unet\.yaml"):
        find_config(root, "zzz")


def test_load_competition(root: Path) -> None:
    assert load_competition(root).name == "toy"
    assert load_competition(root, "landfill").name == "landfill"
    assert load_competition(root, "toy").name == "toy"  # the default, by its name
    assert load_competition(root, None, ("data.root=elsewhere",)).data.root == "elsewhere"
    with pytest.raises(ConfigError, match=r"no competition 'landfil'.*did you mean 'landfill'"):
        load_competition(root, "landfil")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("classes: [roof]", "classes: [roof, road]", "names one class"),
        ("task: binary", "task: multiclass", "at least 2"),
        ("task: binary\nclasses: [roof]", "task: multilabel\nclasses: [a, a]", "repeat"),
        ("task: binary", "task: binar", "task"),
        ("images/{id}.png", "images/*.png", "must hold {id}, at most once between"),
        ("masks/{id}.png", "masks/{id}_{id}.png", "must hold {id}, at most once between"),
        ("name: toy", "name: ../toy", "use letters"),
        ("name: toy", "nam: toy", "unknown key; did you mean 'name'"),
        ("  root: data", "  root: data\n  mask_values: {0: 0}\n  mask_threshold: 1", "keep one"),
        ("  root: data", "  root: data\n  mask_values: {a: 0}", "mask_values"),
    ],
)
def test_wrong_competitions_are_named(root: Path, old: str, new: str, says: str) -> None:
    assert old in COMPETITION
    (root / "configs" / "competition.yaml").write_text(COMPETITION.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_competition(root)
    assert says in str(caught.value)


def test_class_counts_and_default_metric(root: Path) -> None:
    binary = load_competition(root)
    assert (binary.n_classes, binary.metric_name) == (1, "iou_image_mean")
    many = resolved(binary) | {"task": "multiclass", "classes": ["a", "b", "c"]}
    several = check(Competition, many, "x")
    assert (several.n_classes, several.metric_name) == (3, "iou_dataset_macro")
    with pytest.raises(ConfigError, match="at most 255"):
        check(Competition, many | {"classes": [str(i) for i in range(256)]}, "x")


def test_absent_data_names_the_folder(root: Path) -> None:
    competition = load_competition(root)
    with pytest.raises(DataError, match=r"no data at .*data \(data\.root of competition 'toy'\)"):
        data_root(Workspace(root, "toy"), competition)
    (root / "data").mkdir()
    assert data_root(Workspace(root, "toy"), competition) == root / "data"


def test_a_mistake_of_an_override_names_the_override(tmp_path: Path) -> None:
    path, said = tmp_path / "x.yaml", ("train.epoch=3", "train.batch_size=two", "train.size=[0, 4]")
    found = problems(path, "optim: {lr: fast}\n", said)
    assert found[0].startswith(f"{path}: optim.lr: ")
    assert sorted(line.partition(": ")[0] for line in found[1:]) == sorted(f"-o {o}" for o in said)
    assert "-o train.epoch=3: train.epoch: unknown key; did you mean 'epochs'?" in found


def test_a_file_keeps_its_mistakes_beside_an_override_of_the_same_section(root: Path) -> None:
    path = root / "configs" / "competition.yaml"
    said = ("task=multiclass", "data.mask_threshold=3")
    with pytest.raises(ConfigError) as caught:
        load_competition(root, None, said)
    assert caught.value.problems == [
        f"{path} with -o task=multiclass -o data.mask_threshold=3: classes: task multiclass needs at least 2"
    ]
    path.write_text(COMPETITION.replace("[roof]", "[roof, road]"))
    with pytest.raises(ConfigError) as caught:
        load_competition(root, None, said[1:])
    assert caught.value.problems[0].startswith(f"{path}: classes: task binary names one class")


def test_a_mistake_of_a_parent_names_the_parent(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {epoch: 3}\noptim: {lr: fast}\n")
    found = problems(tmp_path / "leaf.yaml", "extends: base.yaml\noptim: {lr: -1}\n")
    assert sorted(line.partition(": ")[0] for line in found) == [
        str(tmp_path / "base.yaml"),
        str(tmp_path / "leaf.yaml"),
    ]


def test_malformed_overrides_come_with_the_rest(tmp_path: Path) -> None:
    found = problems(tmp_path / "x.yaml", "train: {epoch: 3}\n", ("epochs", "y=[1"))
    assert len(found) == 3 and found[0].startswith("-o epochs: expected key=value")


def partly(path: Path, text: str, overrides: tuple[str, ...] = ()) -> PartlyWrongError:
    path.write_text(text)
    with pytest.raises(PartlyWrongError) as caught:
        load_model(path, overrides)
    return caught.value


def test_what_is_left_of_a_config_with_mistakes(tmp_path: Path) -> None:
    wrong = partly(
        tmp_path / "x.yaml",
        "train: {epoch: 3, batch_size: two, seed: 7}\noptim: {name: SGD, lr: -1}\nloss: {bce: -1}\n",
    )
    assert isinstance(wrong.part, ModelConfig)
    assert wrong.part.train.seed == 7 and wrong.part.optim.name == "SGD"
    assert set(wrong.unsure) >= {
        ("train", "epochs"),
        ("train", "batch_size"),
        ("optim", "lr"),
        ("loss", "bce"),
    }
    leans = {"schedule": ("train.epochs", "optim.lr")}
    assert wrong.can_judge("optim.name: unknown", leans)
    assert not wrong.can_judge("optim.lr: too small", leans)
    assert not wrong.can_judge("optim: refuses its arguments", leans)
    assert not wrong.can_judge("schedule.warmup_epochs: longer than train.epochs", leans)


def test_nothing_is_left_without_what_has_no_default(root: Path) -> None:
    (root / "configs" / "competition.yaml").write_text(COMPETITION.replace("binary", "binar"))
    with pytest.raises(PartlyWrongError) as caught:
        load_competition(root)
    assert caught.value.part is None
    with pytest.raises(PartlyWrongError) as caught:
        load_competition(root, "landfill", ("folds.seed=x",))
    assert isinstance(caught.value.part, Competition) and caught.value.part.name == "landfill"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("predict.window=64", "predict.window: expected [64, 64], a list, got 64"),
        ("train.size=64", "train.size: expected [64, 64], a list, got 64"),
        ("predict.tta=flips", "predict.tta: expected [flips], a list, got 'flips'"),
        ("predict.window=big", "predict.window: expected a list of 2 values, got 'big'"),
    ],
)
def test_a_value_where_a_list_is_wanted(tmp_path: Path, override: str, said: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("{}")
    with pytest.raises(ConfigError) as caught:
        load_model(path, [override])
    assert str(caught.value) == f"-o {override}: {said}"
