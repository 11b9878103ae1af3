"""The catalogue: what a dry build says is what a real one is; what was built is kept; time limits hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import comp.models.catalogue as catalogue
from comp.config import Model
from comp.errors import UsageError
from comp.models.build import ARCHITECTURES, build_model, n_parameters
from comp.models.catalogue import (
    build_encoder,
    catalogue_path,
    choose,
    describe_archs,
    encoder_archs,
    make_catalogue,
    read_catalogue,
)
from comp.models.dry import Dry, send, try_pair


@pytest.mark.parametrize(("arch", "encoder"), [("Unet", "resnet18"), ("PlainUnet", None)])
def test_a_dry_network_is_as_large_as_the_real_one(arch: str, encoder: str | None) -> None:
    real = build_model(
        Model(arch=arch, encoder_name=encoder),
        task="binary",
        n_classes=1,
        channels=3,
        load_weights=False,
    )
    dry = try_pair(arch, encoder)
    assert (dry.parameters, dry.stride, dry.error) == (n_parameters(real), real.stride, "")


def test_an_encoder_that_reads_numbers_while_it_is_built_is_built_dry() -> None:
    found = build_encoder("mit_b0", ["Unet", "Linknet"])
    assert found.strides == (4, 8, 16, 32) and found.built["Unet"].parameters
    assert "not supported for Linknet" in found.built["Linknet"].error


def test_an_encoder_without_a_pyramid_fits_dpt_alone() -> None:
    found = build_encoder("tu-vit_tiny_patch16_224", ["Unet", "DPT", "FPN"])
    assert found.parameters is None and found.built["DPT"].parameters
    assert found.built["Unet"].error == found.built["FPN"].error == found.error != ""
    assert "ViT" in build_encoder("resnet18", ["DPT"]).built["DPT"].error


def test_a_network_of_one_size_is_tried_at_that_size() -> None:
    class Only224(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[-1] == 224, "Input height doesn't match model (224)."
            return x

    assert send(Only224(), [256, 224])[1] == 224
    with pytest.raises(AssertionError, match="match model"):
        send(Only224(), [256, 128])


def test_dry_tensors_have_no_memory_and_the_world_is_as_before_after_it() -> None:
    with Dry():
        assert torch.zeros(2).device.type == "meta"
        assert torch.linspace(0, 1, 3)[1].item() == 0.5
    assert torch.zeros(2).device.type == "cpu" and torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="inside"), Dry():
        raise RuntimeError("inside")
    assert torch.zeros(2).device.type == "cpu"


def test_every_architecture_is_described() -> None:
    rows = {row["arch"]: row for row in describe_archs()}
    assert set(rows) == set(ARCHITECTURES)
    assert all(row["parameters"] and not row["error"] for row in rows.values())
    assert rows["PlainUnet"]["encoder"] is None and "PlainUnet" not in encoder_archs()
    assert rows["DeepLabV3Plus"]["min_batch"] == 2


def test_words_choose_architectures_and_encoders() -> None:
    archs, encoders = choose([])
    assert archs == encoder_archs() and len(encoders) > 500
    assert choose(["unet", "resnet18"])[0] == ("Unet",)
    assert choose(["DeepLabV3+ resnet18"])[0] == ("DeepLabV3Plus",)
    assert "AtrousUnet" in choose(["trous"])[0]
    assert {"resnet18", "mit_b0"} <= set(choose(["resnet18", "mit_b"])[1])
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        choose(["resnet18x"])
    with pytest.raises(UsageError, match="no name holds 'qqqq'"):
        choose(["qqqq"])


def test_what_was_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    first = make_catalogue(["Unet"], ["resnet18"], tmp_path, progress=begun.append)
    again = make_catalogue(["Unet"], ["resnet18"], tmp_path, progress=begun.append)
    assert begun == ["resnet18"] and again.encoders == first.encoders and not again.missing
    more = make_catalogue(["Unet", "FPN"], ["resnet18"], tmp_path, progress=begun.append)
    assert begun == ["resnet18"] * 2 and set(more.encoders[0].built) == {"Unet", "FPN"}
    monkeypatch.setattr(catalogue, "versions", lambda: {"torch": "another"})
    assert not catalogue_path(tmp_path).exists()


def test_the_time_limit_leaves_a_list_of_what_is_missing(tmp_path: Path) -> None:
    ticks = iter(range(0, 10_000, 30))
    found = make_catalogue(
        ["PSPNet"],
        ["resnet18", "resnet34", "resnet50"],
        tmp_path,
        limit_seconds=70,
        clock=lambda: float(next(ticks)),
    )
    assert [e.name for e in found.encoders] == ["resnet18"]
    assert found.missing == ("resnet34", "resnet50")
    done = make_catalogue(["PSPNet"], ["resnet18", "resnet34"], tmp_path)
    assert not done.missing


def test_a_damaged_file_is_made_again_and_one_that_cannot_be_written_is_said(
    tmp_path: Path,
) -> None:
    catalogue_path(tmp_path).write_text('{"encoders": {"resnet18": 3}}')
    assert read_catalogue(catalogue_path(tmp_path)) == {}
    assert make_catalogue(["PSPNet"], ["resnet18"], tmp_path).unsaved == ""
    (tmp_path / "file").write_text("")
    found = make_catalogue(["PSPNet"], ["resnet18"], tmp_path / "file")
    assert "cannot write" in found.unsaved and len(found.encoders) == 1
