"""Local weights files, made here by saving random encoders; and what is said where there is no network."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from comp.config import Model
from comp.errors import ConfigError
from comp.models.build import build_model
from comp.models.weights import (
    adapt_channels,
    check_weights,
    find_placed,
    hash_weights,
    local_file,
    read_state,
    timm_url,
)


def native(channels: int = 3) -> dict[str, Tensor]:
    """A random resnet18 with a classifier, as pretrained files have."""
    torch.manual_seed(7)
    state = smp.encoders.get_encoder("resnet18", in_channels=channels).state_dict()
    return {k: v.clone() + 0.25 if v.is_floating_point() else v for k, v in state.items()} | {
        "fc.weight": torch.zeros(2, 2)
    }


def build(weights: Path | str, encoder: str = "resnet18", channels: int = 3, **kwargs: Any):
    kwargs = {"arch": "Unet", **kwargs}
    root = kwargs.pop("root", None)
    model = Model(encoder_name=encoder, encoder_weights=str(weights), **kwargs)
    return build_model(model, task="binary", n_classes=1, channels=channels, root=root)


def save(state: Any, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_file_fills_the_encoder(tmp_path: Path, suffix: str) -> None:
    state = native()
    encoder = build(save(state, tmp_path / f"w{suffix}")).encoder
    assert all(torch.equal(v, state[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("wrap", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "net.encoder.", "module.encoder."])
def test_whole_models_and_wrapped_files(tmp_path: Path, wrap: str, prefix: str) -> None:
    state = native()
    named = {prefix + k: v for k, v in state.items()} | (
        {"decoder.x": torch.zeros(1)} if "encoder" in prefix else {}
    )
    encoder = build(save({wrap: named, "epoch": 3}, tmp_path / "w.pth")).encoder
    assert all(torch.equal(v, state[k]) for k, v in encoder.state_dict().items())


def test_a_run_of_ours_is_a_source_of_encoders(tmp_path: Path) -> None:
    for name in ("resnet18", "tu-resnet10t", "mit_b0"):
        torch.manual_seed(1)
        first = build_model(Model(encoder_name=name), task="binary", n_classes=1, channels=3)
        path = save(
            {k: v.contiguous() for k, v in first.state_dict().items()}, tmp_path / "run.safetensors"
        )
        torch.manual_seed(2)
        second = build(path, name, arch="FPN")
        for a, b in zip(first.encoder_parameters(), second.encoder_parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
def test_the_first_convolution_is_adapted_as_smp_does(tmp_path: Path, channels: int) -> None:
    state = native()
    found = build(save(state, tmp_path / "w.pth"), channels=channels).encoder.state_dict()
    theirs = smp.encoders.get_encoder("resnet18")
    theirs.load_state_dict(dict(state))
    theirs.set_in_channels(channels, pretrained=True)
    assert torch.allclose(found["conv1.weight"], theirs.conv1.weight)
    assert torch.equal(found["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


def test_equal_bands_give_an_unchanged_sum() -> None:
    weight = torch.randn(4, 3, 3, 3)
    for channels in (1, 3, 6, 9):
        assert torch.allclose(adapt_channels(weight, channels).sum(1), weight.sum(1), atol=1e-5)


def test_a_file_trained_on_four_bands_fits_four_bands(tmp_path: Path) -> None:
    state = native(channels=4)
    assert torch.equal(
        build(save(state, tmp_path / "w.pth"), channels=4).encoder.conv1.weight,
        state["conv1.weight"],
    )


def test_torchvisions_old_densenet_names(tmp_path: Path) -> None:
    state = smp.encoders.get_encoder("densenet121").state_dict()
    old = {}
    for key, value in state.items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            key = (
                key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
                if "denselayer" in key
                else key
            )
        old[key] = value + 1
    assert any(".norm.1." in k for k in old)
    encoder = build(save(old, tmp_path / "w.pth"), "densenet121", arch="SkipUnet").encoder
    assert all(torch.equal(v, state[k] + 1) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet10t", 3), ("resnet10t", 5), ("convnext_atto", 3), ("convnext_atto", 1)],
)
def test_timm_files_fill_timm_encoders(
    tmp_path: Path, name: str, channels: int, suffix: str
) -> None:
    full = timm.create_model(name, pretrained=False)
    state = {
        k: v.clone() + 0.25 if v.is_floating_point() else v for k, v in full.state_dict().items()
    }
    found = build(
        save(state, tmp_path / f"w{suffix}"), f"tu-{name}", channels
    ).encoder.model.state_dict()
    plain = {
        k.replace("stages.", "stages_").replace("stem.", "stem_") if "convnext" in name else k: v
        for k, v in state.items()
    }
    same = [k for k in found if k in plain and found[k].shape == plain[k].shape]
    assert len(same) >= len(found) - (channels != 3) - (name == "convnext_atto") * 2
    assert all(torch.equal(found[k], plain[k]) for k in same)
    stem = next(k for k in found if found[k].ndim == 4)
    given = plain[stem].float()
    assert torch.allclose(found[stem].sum(1), given.sum(1), atol=1e-4) or channels == 5


def test_a_vit_for_dpt(tmp_path: Path) -> None:
    full = timm.create_model("vit_tiny_patch16_224", pretrained=False)
    path = save(full.state_dict(), tmp_path / "vit.pth")
    found = build(path, "tu-vit_tiny_patch16_224", arch="DPT").encoder.model.state_dict()
    assert torch.equal(
        found["blocks.3.attn.qkv.weight"], full.state_dict()["blocks.3.attn.qkv.weight"]
    )


def test_file_names_are_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    save(native(), tmp_path / "weights" / "w.pth")
    assert build("weights/w.pth", root=tmp_path).encoder is not None
    assert check_weights("resnet18", "weights/w.pth", tmp_path) == []
    assert "no file weights/w.pth" in check_weights("resnet18", "weights/w.pth")[0]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("code was run",)


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv1.weight": torch.zeros(1), "evil": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pth", "plain.pth"):
        said = rf"cannot read .*{name} as plain weights \(refused: contains code \(.*print\)\)"
        with pytest.raises(ConfigError, match=said):
            build(tmp_path / name)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["torn.pth", "torn.safetensors", "empty.pth", "text.safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    path = save(native(), tmp_path / name)
    content = {
        "torn": path.read_bytes()[:2000],
        "empty": b"",
        "text": b"hello, I am not a weights file",
    }[name.partition(".")[0]]
    path.write_bytes(content)
    with pytest.raises(
        ConfigError, match=rf"model\.encoder_weights: cannot read .*{name} as plain weights"
    ) as error:
        build(path)
    assert "\n" not in str(error.value)


def test_files_of_another_encoder_are_refused(tmp_path: Path) -> None:
    state = native()
    short = {k: v for k, v in state.items() if not k.startswith("layer4")}
    with pytest.raises(
        ConfigError, match=r"short\.pth is of another encoder: it lacks layer4\.0\.conv1\.weight, "
    ):
        build(save(short, tmp_path / "short.pth"))
    with pytest.raises(
        ConfigError,
        match=r"another encoder: layer1\.0\.conv1\.weight \(1,\), expected \(64, 64, 3, 3\)",
    ):
        build(save({**state, "layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "shape.pth"))
    with pytest.raises(ConfigError, match="is of another encoder than convnext_atto: "):
        build(save(state, tmp_path / "native.pth"), "tu-convnext_atto")
    with pytest.raises(ConfigError, match=r"holds no weights by name"):
        build(save([torch.zeros(1)], tmp_path / "list.pth"))


def test_without_a_network_the_file_to_bring_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr("comp.models.weights.hf_hub_download", offline)
    with pytest.raises(ConfigError) as error:
        build("imagenet", root=tmp_path)
    file = tmp_path / "weights" / "resnet18.imagenet.safetensors"
    for part in (
        "model.encoder_weights: cannot fetch 'imagenet' of encoder resnet18 (no route to host), and",
        f"there is no file {file}. Without",
        "https://huggingface.co/smp-hub/resnet18.imagenet/resolve/",
        "/model.safetensors elsewhere and put it there",
        "HF_HOME",
        "-o model.encoder_weights=null",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    save(native(), file)  # what the message asks for is enough
    assert torch.equal(
        build("imagenet", root=tmp_path).encoder.conv1.weight, native()["conv1.weight"]
    )


@pytest.mark.parametrize("tag", ["imagenet", "c3_in1k"])
def test_the_same_for_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: str) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    file = tmp_path / "weights" / "resnet10t.c3_in1k.safetensors"
    with pytest.raises(ConfigError) as error:
        build(tag, "tu-resnet10t", root=tmp_path)
    for part in (
        f"cannot fetch '{tag}' of encoder tu-resnet10t (no route to host), and there is no file {file}.",
        "download https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors elsewhere",
    ):
        assert part in str(error.value)
    full = timm.create_model("resnet10t", pretrained=False).state_dict()
    save({k: v + 0.25 if v.is_floating_point() else v for k, v in full.items()}, file)
    found = build(tag, "tu-resnet10t", root=tmp_path).encoder.model.state_dict()
    assert torch.equal(found["bn1.weight"], full["bn1.weight"] + 0.25)


def test_a_placed_file_goes_before_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def asked(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("comp.models.weights.hf_hub_download", asked)
    (tmp_path / "weights").mkdir()
    path = save(native(), tmp_path / "weights" / "resnet18.imagenet.pth")
    assert find_placed("resnet18", "imagenet", tmp_path) == path
    assert find_placed("resnet18", "ssl", tmp_path) is None
    assert build("imagenet", root=tmp_path, channels=5).encoder.conv1.weight.shape[1] == 5


@pytest.mark.parametrize(
    ("full", "url"),
    [
        (
            "resnet10t",
            "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors",
        ),
        (
            "gcvit_base.in1k",
            "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights-morevit/"
            "gcvit_base_224_nvidia-f009139b.pth",
        ),
    ],
)
def test_where_timm_has_its_weights(full: str, url: str) -> None:
    assert timm_url(full) == url


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_timm_weights_from_the_hub_fit_any_bands(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    torch.manual_seed(3)
    state = timm.create_model("resnet10t", pretrained=False).state_dict()
    asked = []

    def load(model_id: str, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        asked.append(model_id)
        return {k: v.clone() for k, v in state.items()}

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", load)
    found = build("imagenet", "tu-resnet10t", channels).encoder.model.state_dict()
    assert asked == ["timm/resnet10t.c3_in1k"]
    stem, given = found["conv1.0.weight"], state["conv1.0.weight"]
    assert stem.shape[1] == channels
    assert torch.allclose(stem.sum(1), given.sum(1), atol=1e-5) or channels == 4  # reused in turn
    assert torch.equal(found["layer2.0.conv1.weight"], state["layer2.0.conv1.weight"])


OFFLINE = """
import sys, torch
from comp.config import Model
from comp.models.build import build_model
for name in ("resnet18", "tu-resnet10t"):
    net = build_model(Model(encoder_name=name, encoder_weights="imagenet"), task="binary",
                      n_classes=1, channels=4).encoder
    print(name, float(next(iter(net.state_dict().values())).sum()))
try:
    build_model(Model(encoder_name="resnet34", encoder_weights="imagenet"), task="binary",
                n_classes=1, channels=3)
except Exception as error:
    print(type(error).__name__, error)
"""


def put_in_hub_cache(home: Path, repo: str, revision: str, state: dict[str, Tensor]) -> None:
    """The files that a download leaves in HF_HOME."""
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    commit = revision if len(revision) == 40 else "0" * 40
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / revision).write_text(commit)
    save_file(state, folder / "snapshots" / commit / "model.safetensors")


def test_a_filled_cache_is_enough_offline(tmp_path: Path) -> None:
    settings = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    put_in_hub_cache(tmp_path, settings["repo_id"], settings["revision"], native())
    timms = timm.create_model("resnet10t", pretrained=False).state_dict()
    put_in_hub_cache(tmp_path, "timm/resnet10t.c3_in1k", "main", timms)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        | {"HF_HUB_CACHE": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.strip().splitlines()
    total = (
        build(save(native(), tmp_path / "w.pth"), channels=4).encoder.conv1.weight.detach().sum()
    )
    assert first.startswith("resnet18 ") and float(first.split()[1]) == pytest.approx(
        float(total), rel=1e-3
    )
    assert second.startswith("tu-resnet10t ")
    assert third.startswith("ConfigError model.encoder_weights: cannot fetch 'imagenet' of encoder")
    assert f"({tmp_path / 'hub'}, moved by HF_HOME)" in third


def test_a_trained_network_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("comp.models.weights.hf_hub_download", asked)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", asked)
    for name, weights in (
        ("resnet18", "imagenet"),
        ("tu-resnet10t", "c3_in1k"),
        ("resnet18", "weights/that/is/gone.pth"),
    ):
        model = Model(encoder_name=name, encoder_weights=weights, normalize="encoder")
        made = build_model(model, task="binary", n_classes=1, channels=3, load_weights=False)
        made.load_state_dict(made.state_dict())


def test_a_fetched_file_is_loaded_as_a_local_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = native()
    path = save(state, tmp_path / "model.safetensors")
    monkeypatch.setattr("comp.models.weights.hf_hub_download", lambda *args, **kwargs: str(path))
    encoder = build("imagenet", channels=4).encoder
    assert (
        torch.equal(encoder.bn1.weight, state["bn1.weight"]) and encoder.conv1.weight.shape[1] == 4
    )


def test_check_weights() -> None:
    assert check_weights("resnet18", None) == check_weights("resnet18", "imagenet") == []
    assert (
        check_weights("tu-resnet10t", "c3_in1k")
        == check_weights("tu-resnet10t.c3_in1k", "imagenet")
        == []
    )
    assert "did you mean 'c3_in1k'?" in check_weights("tu-resnet10t", "c3_in2k")[0]
    assert (
        "unknown pretrained tag 'ssll'; did you mean 'ssl'?" in check_weights("resnet18", "ssll")[0]
    )


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*gone\.pth: put the weights there"):
        read_state(tmp_path / "gone.pth")


def test_the_local_file_that_weights_are_read_from(tmp_path: Path) -> None:
    def found(**model: Any) -> Path | None:
        return local_file(Model(**{"encoder_name": "resnet18", **model}), tmp_path)

    assert found() is None and found(encoder_weights="imagenet") is None
    assert found(encoder_weights="mine.pth") is None  # absent: said where it is read
    placed, named = tmp_path / "weights" / "resnet18.imagenet.pth", tmp_path / "mine.pth"
    placed.parent.mkdir()
    placed.write_bytes(b"one")
    named.write_bytes(b"two")
    assert (
        found(encoder_weights="imagenet") == placed and found(encoder_weights="mine.pth") == named
    )
    assert found(encoder_weights=str(named)) == named
    assert found(encoder_name="resnet18x", encoder_weights="imagenet") is None
    assert hash_weights(named) == hashlib.sha256(b"two").hexdigest()[:16]
