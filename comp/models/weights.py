"""Encoder weights: none, a pretrained tag, or a local file; the only place that may ask the network.

Files are .safetensors, or .pth/.pt/.bin read with weights_only=True; nothing in them is run. The first
convolution is adapted to the image's channels, anything else that does not fit is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
from huggingface_hub import constants, hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from comp.config import Model
from comp.errors import ConfigError, some
from comp.files import sha256
from comp.models.encoders import check_encoder, timm_name, timm_weights
from comp.models.plain import load_plain
from comp.registry import unknown

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
)  # keys that training scripts nest weights under
PREFIXES = (
    "module.",
    "net.encoder.",
    "encoder.",
)  # of whole models, ours and smp's: their encoder is taken

State = dict[str, Tensor]


def is_file_name(weights: str) -> bool:
    """True when `encoder_weights` means a local file and not a pretrained tag."""
    return weights.endswith(SUFFIXES) or "/" in weights or os.sep in weights


def check_weights(name: str, weights: str | None, root: Path | None = None) -> list[str]:
    """What is wrong with `encoder_weights`, without reading or fetching anything."""
    if weights is None or check_encoder(name):
        return []
    if is_file_name(weights):
        path = find_file(weights, root)
        return (
            []
            if path.is_file()
            else [
                f"no file {path}: put the weights of encoder {name} there, or use encoder_weights: null"
            ]
        )
    inner = timm_name(name)
    if inner is None:
        tags = list(smp.encoders.encoders[name]["pretrained_settings"])
        return (
            []
            if weights in tags
            else [f"{unknown(weights, tags, 'pretrained tag')} (of encoder {name})"]
        )
    if timm_weights(inner, weights) is None:
        tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{inner.partition('.')[0]}.*")]
        return [f"{unknown(weights, [*tags, 'imagenet'], 'pretrained tag')} (of encoder {name})"]
    return []


def find_file(weights: str, root: Path | None) -> Path:
    """A file name is relative to `root` (the workspace), or absolute."""
    return (root or Path()) / Path(weights).expanduser()


def find_placed(name: str, weights: str, root: Path | None) -> Path | None:
    """A file put by hand in place of a pretrained tag: ``weights/<encoder>.<tag>`` with any suffix."""
    stem = placed_stem(name, weights)
    return next((p for s in SUFFIXES if (p := find_file(f"{stem}{s}", root)).is_file()), None)


def local_file(model: Model, root: Path | None) -> Path | None:
    """The file that the encoder's weights are read from: named, or placed for a tag; None: there is none."""
    name, weights = model.encoder_name, model.encoder_weights
    if name is None or weights is None or check_encoder(name):
        return None
    found = find_file(weights, root) if is_file_name(weights) else find_placed(name, weights, root)
    return found if found is not None and found.is_file() else None


def hash_weights(path: Path) -> str:
    """What a run's identity says of a file's content: the head of its sha256."""
    return sha256(path)[:16]


def placed_stem(name: str, weights: str) -> str:
    """Where a file stands in for a tag; timm's are named as on the hub, with the tag that is meant."""
    inner = timm_name(name)
    if inner is None:
        return f"weights/{name}.{weights}"
    full = timm_weights(inner, weights) or f"{inner}.{weights}"
    config = timm.get_pretrained_cfg(full)
    return f"weights/{full}" if config is None else f"weights/{config.architecture}.{config.tag}"


def timm_url(full: str) -> str:
    """Where timm's weights of a full name can be downloaded."""
    config = timm.get_pretrained_cfg(full)
    if config is None or not config.hf_hub_id:
        return str(config.url) if config is not None else full
    repo, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or "model.safetensors"
    return f"https://huggingface.co/{repo}/resolve/{revision or 'main'}/{file}"


def fetch_native(name: str, tag: str, root: Path | None = None) -> Path:
    """The file of smp's own pretrained weights, from the hub or its cache on disk.

    Raises:
        ConfigError: neither is there; says which file to bring and where to name it.
    """
    settings = smp.encoders.encoders[name]["pretrained_settings"][tag]
    repo, revision = settings["repo_id"], settings["revision"]
    try:
        return Path(hf_hub_download(repo, filename="model.safetensors", revision=revision))
    except Exception as error:  # noqa: BLE001 - the hub's, the HTTP library's and the system's errors
        url = f"https://huggingface.co/{repo}/resolve/{revision}/model.safetensors"
        raise ConfigError(no_network(name, tag, url, root, error)) from error


def no_network(name: str, tag: str, url: str, root: Path | None, error: Exception) -> str:
    """What to do where weights can neither be fetched nor found: the one file, and where to put it."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    suffix = next((s for s in SUFFIXES if url.endswith(s)), ".pth")
    file = find_file(f"{placed_stem(name, tag)}{suffix}", root)
    return (
        f"model.encoder_weights: cannot fetch {tag!r} of encoder {name} ({reason.rstrip('. ')}), and there is no "
        f"file {file}. Without a network: download {url} elsewhere and put it there, it is found by "
        f"that name; or bring the hub's cache ({constants.HF_HUB_CACHE}, moved by HF_HOME); or train from scratch "
        "with -o model.encoder_weights=null"
    )


def read_state(path: Path) -> State:
    """Read the tensors of a weights file, unwrapped to an encoder's own names.

    Raises:
        ConfigError: missing, damaged, holding code, or holding no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path, device="cpu")
        else:
            found = load_plain(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"model.encoder_weights: no file {path}: put the weights there, or use encoder_weights: null"
        ) from error
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.encoder_weights: cannot read {path} as plain weights ({reason})"
        ) from error
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    state = (
        {k: v for k, v in found.items() if isinstance(v, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not state:
        raise ConfigError(f"model.encoder_weights: {path} holds no weights by name")
    for prefix in PREFIXES:
        inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        state = inside or state
    return state


def load_encoder(encoder: nn.Module, state: State, where: str) -> None:
    """Fill an encoder from a state dict with its names; names it does not have (classifiers) are left.

    Raises:
        ConfigError: something of the encoder is missing, or has another shape.
    """
    own = encoder.state_dict()
    given = {k: v for k, v in _older_names(state, own).items() if k in own}
    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(
            f"model.encoder_weights: {where} is of another encoder: it lacks {some(missing)}"
        )
    stem = next((k for k, v in own.items() if v.ndim == 4), "")
    if given[stem].shape != own[stem].shape:
        given[stem] = adapt_channels(given[stem], own[stem].shape[1])
    unlike = [
        f"{k} {tuple(v.shape)}, expected {tuple(own[k].shape)}"
        for k, v in given.items()
        if v.shape != own[k].shape
    ]
    if unlike:
        raise ConfigError(
            f"model.encoder_weights: {where} is of another encoder: {some(unlike, 3)}"
        )
    nn.Module.load_state_dict(
        encoder, {**own, **given}
    )  # not smp's own, which want their classifier


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's (out, c, kh, kw) weights for another number of input channels.

    Channels are reused in turn and scaled so that equal inputs give an unchanged sum; one channel gets the sum.
    """
    given = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, [c % given for c in range(channels)]] * (given / channels)


def _older_names(state: State, own: Mapping[str, Tensor]) -> State:
    """torchvision's old DenseNet files say `norm.1` where the network says `norm1`."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if key not in own and len(parts) > 2 and parts[-2] in ("1", "2"):
            joined = ".".join([*parts[:-3], parts[-3] + parts[-2], parts[-1]])
            key = joined if joined in own else key
        renamed[key] = value
    return renamed


def fill_timm(
    network: Callable[..., nn.Module], kwargs: dict[str, Any], inner: str, state: State, where: str
) -> nn.Module:
    """Build a network on a timm encoder from a state dict with the names of timm's whole model.

    timm renames, drops the classifier and adapts the first convolution; what it cannot place it only
    logs, which is an error here.

    Raises:
        ConfigError: something of the encoder is missing, or has another shape.
    """
    overlay: dict[str, Any] = {"state_dict": state, "source": "", "custom_load": False}
    config = timm.get_pretrained_cfg(inner)
    stem, classifiers = (
        getattr(config, "first_conv", None),
        getattr(config, "classifier", None) or (),
    )
    if config is not None and isinstance(stem, str) and f"{stem}.weight" in state:
        overlay["input_size"] = (int(state[f"{stem}.weight"].shape[1]), *config.input_size[1:])
    try:
        with _timm_log() as heard:
            net = network(**kwargs | {"encoder_weights": True, "pretrained_cfg_overlay": overlay})
    except Exception as error:  # noqa: BLE001 - timm's conversions raise whatever they trip over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"model.encoder_weights: {where} is of another encoder than {inner}: {reason[:300]}"
        ) from error
    if any(message.startswith("Unable to convert") for message in heard):
        raise ConfigError(
            f"model.encoder_weights: timm cannot adapt {where} to this number of channels"
        )
    heads = tuple(
        f"{c}." for c in ((classifiers,) if isinstance(classifiers, str) else classifiers)
    )
    listed = [m.partition("(")[2].partition(")")[0] for m in heard if m.startswith("Missing keys")]
    lost = [key for part in listed for key in part.split(", ") if not key.startswith(heads)]
    if lost:
        raise ConfigError(
            f"model.encoder_weights: {where} is of another encoder than {inner}: it lacks {some(lost)}"
        )
    return net


@contextmanager
def _timm_log() -> Iterator[list[str]]:
    """Collect what timm logs while it loads weights, and keep it off the screen."""
    logger = logging.getLogger("timm.models._builder")
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    listener, level, propagate = Listener(), logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield heard
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate
