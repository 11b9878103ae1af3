"""The contract of every loss, the oracles of each, and the messages of what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from comp.config import LossTerm
from comp.errors import ConfigError
from comp.models.losses import LOSSES, Target, build_loss, check_loss, make_target

CASES = [
    ("binary", "sigmoid", 1),
    ("binary", "softmax", 1),
    ("multiclass", "softmax", 4),
    ("multilabel", "sigmoid", 3),
]
NAMED = [(name, *case) for name, loss in LOSSES.items() for case in CASES if case[1] in loss.heads]
contract = pytest.mark.parametrize(("name", "task", "head", "n_classes"), NAMED)


def make(name: str, task: str, head: str, n_classes: int | None = None, **kwargs: Any):
    return build_loss({name: LossTerm(**kwargs)}, task=task, head=head, n_classes=n_classes)


def number(value: Any) -> float:
    return torch.as_tensor(value).detach().item()


def labels_of(task: str, n_classes: int, batch: int = 3, size: int = 12) -> Tensor:
    """Random labels with a share of ignored pixels."""
    shape = (batch, n_classes, size, size) if task == "multilabel" else (batch, size, size)
    labels = torch.randint(0, n_classes if task == "multiclass" else 2, shape, dtype=torch.uint8)
    labels[torch.rand(shape) < 0.3] = 255
    return labels


def logits_like(target: Target, head: str, scale: float = 2.0) -> Tensor:
    b, k, h, w = target.planes.shape
    return torch.randn(b, 2 if head == "softmax" and k == 1 else k, h, w) * scale


def perfect(target: Target, head: str) -> Tensor:
    planes = target.planes
    if head == "softmax" and planes.shape[1] == 1:
        planes = torch.cat([1 - planes, planes], dim=1)
    return 40.0 * (2 * planes - 1)


@contract
@pytest.mark.parametrize("per_image", [False, True])
def test_perfect_logits_cost_nothing(
    name: str, task: str, head: str, n_classes: int, per_image: bool
) -> None:
    kwargs = (
        {"per_image": True}
        if per_image and name in ("dice", "jaccard", "tversky", "lovasz")
        else {}
    )
    target = make_target(labels_of(task, n_classes), task, n_classes)
    total, terms = make(name, task, head, n_classes, **kwargs)(perfect(target, head), target)
    assert number(total) == pytest.approx(0, abs=1e-4)
    assert list(terms) == [name] and not terms[name].requires_grad
    worse, _ = make(name, task, head, n_classes, **kwargs)(-perfect(target, head), target)
    assert number(worse) > 0.5


@contract
def test_ignored_pixels_change_nothing_and_get_no_gradient(
    name: str, task: str, head: str, n_classes: int
) -> None:
    target = make_target(labels_of(task, n_classes), task, n_classes)
    loss = make(name, task, head, n_classes)
    logits = logits_like(target, head).requires_grad_()
    total, _ = loss(logits, target)
    total.backward()
    ignored = (target.valid == 0).expand_as(logits)
    assert logits.grad is not None and number(logits.grad[ignored].abs().max()) == 0
    assert number(logits.grad[~ignored].abs().max()) > 0
    for poison in (7.0, torch.inf, torch.nan):
        other = torch.where(ignored, poison, logits.detach()).requires_grad_()
        again, _ = loss(other, target)
        again.backward()
        assert torch.equal(again, total)
        assert other.grad is not None and torch.equal(other.grad, logits.grad)


@contract
@pytest.mark.parametrize("corner", ["all ignored", "nothing", "everything", "one valid pixel"])
@pytest.mark.parametrize("scale", [1.0, 1e4, 0.0])
def test_values_and_gradients_stay_finite(
    name: str, task: str, head: str, n_classes: int, corner: str, scale: float
) -> None:
    shape = (2, n_classes, 8, 8) if task == "multilabel" else (2, 8, 8)
    fill = {"all ignored": 255, "nothing": 0, "everything": 1, "one valid pixel": 255}[corner]
    labels = torch.full(shape, fill, dtype=torch.uint8)
    if corner == "one valid pixel":
        labels.flatten()[3] = 1
    target = make_target(labels, task, n_classes)
    options: list[dict[str, Any]] = [{}]
    if name.startswith(("dice", "jaccard", "tversky")):
        options += [{"smooth": 0.0}, {"smooth": 0.0, "empty": "skip"}]
        options += [{"smooth": 0.0, "per_image": True}] if "_" not in name else []
    if name.startswith("tversky"):
        options += [{"gamma": 0.5}]
    if name == "focal":
        options += [{"gamma": 0.5}, {"gamma": 0}]
    for kwargs in options:
        logits = (logits_like(target, head, scale)).requires_grad_()
        total, _ = make(name, task, head, n_classes, **kwargs)(logits, target)
        total.backward()
        assert (
            torch.isfinite(total) and logits.grad is not None and torch.isfinite(logits.grad).all()
        )
        if corner == "all ignored":
            assert number(total) == 0 and number(logits.grad.abs().max()) == 0


@contract
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_give_a_float32_loss(
    name: str, task: str, head: str, n_classes: int, dtype: torch.dtype
) -> None:
    target = make_target(labels_of(task, n_classes), task, n_classes)
    loss = make(name, task, head, n_classes)
    logits = logits_like(target, head).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = loss(logits.clone().requires_grad_(), target)
    assert total.dtype == torch.float32 and total.requires_grad
    assert torch.equal(total, loss(logits.float(), target)[0])


@contract
def test_soft_truth_is_taken(name: str, task: str, head: str, n_classes: int) -> None:
    planes = torch.rand(2, n_classes, 8, 8)
    if task == "multiclass":
        planes = planes / planes.sum(1, keepdim=True)
    target = Target(planes, torch.ones(2, 1, 8, 8))
    logits = logits_like(target, head).requires_grad_()
    total, _ = make(name, task, head, n_classes)(logits, target)
    total.backward()
    assert torch.isfinite(total) and number(logits.grad.abs().max()) > 0  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_region_losses_cost_nothing_where_soft_truth_is_met(name: str) -> None:
    logits = torch.randn(2, 1, 8, 8)
    target = Target(torch.sigmoid(logits), torch.ones(2, 1, 8, 8))
    total, _ = make(name, "binary", "sigmoid")(logits, target)
    assert number(total) == pytest.approx(0, abs=1e-6)


@contract
def test_following_the_gradient_finds_the_truth(
    name: str, task: str, head: str, n_classes: int
) -> None:
    target = make_target(labels_of(task, n_classes), task, n_classes)
    loss = make(name, task, head, n_classes)
    logits = logits_like(target, head, 0.1).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits, target)[0].backward()
        optimizer.step()
    if head == "softmax":
        found = F.one_hot(logits.argmax(1), logits.shape[1]).movedim(-1, 1)
        found = found[:, 1:] if task == "binary" else found
    else:
        found = logits > 0
    right = (found == target.planes)[target.valid.expand_as(target.planes) > 0]
    assert number(right.float().mean()) > 0.95


# oracles


def flat(target: Target) -> Tensor:
    """Multi-class planes back to indices with 255 ignored."""
    return target.planes.argmax(1).masked_fill(target.valid[:, 0] == 0, 255)


@pytest.mark.parametrize(
    "kwargs", [{}, {"label_smoothing": 0.1}, {"class_weights": [0.5, 1, 2, 3]}]
)
def test_ce_is_torchs_mean_over_valid_pixels(kwargs: dict[str, Any]) -> None:
    target = make_target(labels_of("multiclass", 4), "multiclass", 4)
    logits = logits_like(target, "softmax")
    weight = torch.tensor(kwargs["class_weights"]).float() if "class_weights" in kwargs else None
    wanted = F.cross_entropy(
        logits,
        flat(target),
        weight=weight,
        ignore_index=255,
        label_smoothing=kwargs.get("label_smoothing", 0.0),
    )
    total, _ = make("ce", "multiclass", "softmax", 4, **kwargs)(logits, target)
    assert number(total) == pytest.approx(number(wanted), rel=1e-5)


@pytest.mark.parametrize("kwargs", [{}, {"pos_weight": 3.0}, {"pos_weight": [1.0, 2.0, 3.0]}])
def test_bce_is_torchs_mean_over_valid_pixels(kwargs: dict[str, Any]) -> None:
    target = make_target(labels_of("multilabel", 3), "multilabel", 3)
    logits = logits_like(target, "sigmoid")
    weight = torch.tensor(kwargs["pos_weight"]).view(-1, 1, 1) if kwargs else None
    every = F.binary_cross_entropy_with_logits(
        logits, target.planes, pos_weight=weight, reduction="none"
    )
    total, _ = make("bce", "multilabel", "sigmoid", 3, **kwargs)(logits, target)
    assert number(total) == pytest.approx(number(every[target.valid > 0].mean()), rel=1e-5)


def test_a_two_class_softmax_ce_is_bce_of_the_difference() -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, "softmax")
    ce, _ = make("ce", "binary", "softmax", 1)(logits, target)
    bce, _ = make("bce", "binary", "sigmoid", 1)(logits[:, 1:] - logits[:, :1], target)
    assert number(ce) == pytest.approx(number(bce), rel=1e-5)


SMP = {"dice": smp.losses.DiceLoss, "jaccard": smp.losses.JaccardLoss}


@pytest.mark.parametrize("name", list(SMP))
def test_dice_and_jaccard_equal_smps_where_every_class_is_there(name: str) -> None:
    for task, head, k in (
        ("binary", "sigmoid", 1),
        ("multiclass", "softmax", 4),
        ("multilabel", "sigmoid", 3),
    ):
        labels = labels_of(task, k)
        labels[labels == 255] = 0
        target = make_target(labels, task, k)
        logits = logits_like(target, head)
        truth = flat(target) if task == "multiclass" else target.planes
        total, _ = make(name, task, head, k)(logits, target)
        wanted = SMP[name](task, smooth=1.0)(logits, truth)
        assert number(total) == pytest.approx(number(wanted), rel=1e-5)


@pytest.mark.parametrize("ignore", [False, True])
def test_tversky_and_lovasz_equal_smps(ignore: bool) -> None:
    labels = labels_of("multiclass", 4)
    if not ignore:
        labels[labels == 255] = 1
    target = make_target(labels, "multiclass", 4)
    logits = logits_like(target, "softmax")
    total, _ = make("lovasz", "multiclass", "softmax", 4)(logits, target)
    wanted = smp.losses.LovaszLoss("multiclass", ignore_index=255)(logits, flat(target))
    assert number(total) == pytest.approx(number(wanted), rel=1e-5)
    total, _ = make("tversky", "multiclass", "softmax", 4, alpha=0.2, beta=0.9, smooth=0.0)(
        logits, target
    )
    wanted = smp.losses.TverskyLoss(
        "multiclass", alpha=0.2, beta=0.9, ignore_index=255 if ignore else None
    )(logits, flat(target))
    assert number(total) == pytest.approx(number(wanted), rel=1e-5)


@pytest.mark.parametrize("per_image", [False, True])
def test_the_lovasz_hinge_equals_smps(per_image: bool) -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, "sigmoid")
    truth = target.planes[:, 0].masked_fill(target.valid[:, 0] == 0, 255)
    wanted = smp.losses.LovaszLoss("binary", per_image=per_image, ignore_index=255)(logits, truth)
    total, _ = make("lovasz", "binary", "sigmoid", 1, per_image=per_image)(logits, target)
    assert number(total) == pytest.approx(number(wanted), rel=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_the_sigmoid_focal_loss_equals_torchvisions(alpha: float | None) -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, "sigmoid")
    every = sigmoid_focal_loss(logits, target.planes, alpha=-1 if alpha is None else alpha, gamma=2)
    total, _ = make("focal", "binary", "sigmoid", 1, alpha=alpha)(logits, target)
    assert number(total) == pytest.approx(number(every[target.valid > 0].mean()), rel=1e-4)


@pytest.mark.parametrize(("head", "other"), [("sigmoid", "bce"), ("softmax", "ce")])
def test_focal_of_gamma_0_is_cross_entropy(head: str, other: str) -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, head)
    focal, _ = make("focal", "binary", head, 1, gamma=0)(logits, target)
    plain, _ = make(other, "binary", head, 1)(logits, target)
    assert number(focal) == pytest.approx(number(plain), rel=1e-6)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_per_image_is_the_mean_of_images(name: str, head: str) -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, head)
    together, _ = make(name, "binary", head, 1, per_image=True)(logits, target)
    alone = [
        make(name, "binary", head, 1)(
            logits[i : i + 1], Target(target.planes[i : i + 1], target.valid[i : i + 1])
        )[0]
        for i in range(3)
    ]
    assert number(together) == pytest.approx(number(torch.stack(alone).mean()), rel=1e-5)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
@pytest.mark.parametrize(("unit", "per_image"), [("image", True), ("batch", False)])
def test_the_name_may_say_what_the_mean_is_over(name: str, unit: str, per_image: bool) -> None:
    labels = labels_of("multiclass", 4)
    target = make_target(labels, "multiclass", 4)
    logits = logits_like(target, "softmax")
    named, terms = make(f"{name}_{unit}", "multiclass", "softmax", 4)(logits, target)
    asked, _ = make(name, "multiclass", "softmax", 4, per_image=per_image)(logits, target)
    assert torch.equal(named, asked) and list(terms) == [f"{name}_{unit}"]
    wrong = check_loss(
        {f"{name}_{unit}": LossTerm(per_image=per_image)}, task="binary", head="sigmoid"
    )
    assert "unknown argument 'per_image'" in wrong[0]


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
def test_what_is_predicted_in_an_empty_image_costs_unless_skipped(name: str) -> None:
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[0, :4] = 1
    target = make_target(labels, "binary", 1)
    logits = torch.full((2, 1, 8, 8), -3.0)
    logits[0, :, :4] = 3.0
    bad = logits.clone()
    bad[1] = 0.5
    bad.requires_grad_()
    wanting = make(name, "binary", "sigmoid", 1, per_image=True)
    assert number(wanting(bad, target)[0]) > number(wanting(logits, target)[0]) + 0.01
    wanting(bad, target)[0].backward()
    assert number(bad.grad[1].abs().max()) > 0  # type: ignore[index]
    skipping = make(name, "binary", "sigmoid", 1, per_image=True, empty="skip")
    assert torch.equal(skipping(bad, target)[0], skipping(logits, target)[0])


def test_class_weights_of_0_leave_a_class_out_of_dice() -> None:
    target = make_target(labels_of("multiclass", 3), "multiclass", 3)
    logits = logits_like(target, "softmax")
    every = [
        make("dice", "multiclass", "softmax", 3, class_weights=w)(logits, target)[0]
        for w in ([0, 1, 0], [0, 0, 2])
    ]
    both, _ = make("dice", "multiclass", "softmax", 3, class_weights=[0, 1, 1])(logits, target)
    assert number(both) == pytest.approx(number(sum(every)) / 2, rel=1e-6)


def test_an_image_ignored_as_a_whole_does_not_dilute_the_mean() -> None:
    target = make_target(labels_of("binary", 1, batch=1), "binary", 1)
    logits = logits_like(target, "sigmoid")
    padded = Target(torch.cat([target.planes] * 2), torch.cat([target.valid, target.valid * 0]))
    for name in ("bce", "dice", "jaccard", "lovasz", "tversky", "focal"):
        kwargs = {} if name in ("bce", "focal") else {"per_image": True}
        loss = make(name, "binary", "sigmoid", 1, **kwargs)
        assert number(loss(torch.cat([logits] * 2), padded)[0]) == pytest.approx(
            number(loss(logits, target)[0]), rel=1e-6
        )


def test_the_total_is_the_weighted_sum_and_terms_are_unweighted() -> None:
    target = make_target(labels_of("binary", 1), "binary", 1)
    logits = logits_like(target, "softmax")
    both = build_loss(
        {"ce": LossTerm(weight=0.6), "dice": LossTerm(weight=0.4)}, task="binary", head="softmax"
    )
    total, terms = both(logits, target)
    assert list(terms) == ["ce", "dice"]
    assert number(total) == pytest.approx(
        0.6 * number(terms["ce"]) + 0.4 * number(terms["dice"]), rel=1e-6
    )
    assert torch.equal(terms["ce"], make("ce", "binary", "softmax")(logits, target)[0])


def plus_constant(logits: Tensor, planes: Tensor, valid: Tensor, constant: float = 1.0) -> Tensor:
    """A user's own loss."""
    return logits.mean() * 0 + constant


def test_a_users_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "own_losses", sys.modules[__name__])
    loss = make("own_losses:plus_constant", "binary", "sigmoid", constant=2.5)
    target = make_target(labels_of("binary", 1), "binary", 1)
    assert number(loss(logits_like(target, "sigmoid"), target)[0]) == 2.5
    with pytest.raises(ConfigError, match="did you mean 'constant'"):
        make("own_losses:plus_constant", "binary", "sigmoid", konstant=2.5)
    with pytest.raises(ConfigError, match="cannot import 'own_losses:missing'"):
        make("own_losses:missing", "binary", "sigmoid")
    with pytest.raises(ConfigError, match="is not a function"):
        make("own_losses:CASES", "binary", "sigmoid")


# what is refused

REFUSED = [
    ("dicee", {}, "binary", "sigmoid", "loss.dicee: unknown loss 'dicee'; did you mean 'dice'?"),
    (
        "dice",
        {"per_imag": True},
        "binary",
        "sigmoid",
        "loss.dice: unknown argument 'per_imag'; did you mean 'per_image'?",
    ),
    (
        "dice",
        {"wieght": 2},
        "binary",
        "sigmoid",
        "loss.dice: unknown argument 'wieght'; did you mean 'weight'?",
    ),
    (
        "bce",
        {},
        "multiclass",
        "softmax",
        "needs head: sigmoid, but task multiclass here has head: softmax; use ce",
    ),
    (
        "ce",
        {},
        "binary",
        "sigmoid",
        "needs head: softmax, but task binary here has head: sigmoid; use bce",
    ),
    (
        "dice",
        {"empty": "zero"},
        "binary",
        "sigmoid",
        "loss.dice: empty: expected 'penalize' or 'skip', got 'zero'",
    ),
    ("lovasz", {"empty": 1}, "binary", "sigmoid", "loss.lovasz: empty: expected"),
    ("dice", {"smooth": -1}, "binary", "sigmoid", "smooth: expected >= 0, got -1"),
    ("focal", {"gamma": -1}, "binary", "sigmoid", "gamma: expected >= 0, got -1"),
    ("focal", {"gamma": "two"}, "binary", "sigmoid", "loss.focal: '>=' not supported"),
    ("focal", {"alpha": 2}, "binary", "sigmoid", r"alpha: expected a number in \[0, 1\], got 2"),
    ("focal", {"alpha": 0.5}, "binary", "softmax", "alpha is for head: sigmoid; use class_weights"),
    (
        "focal",
        {"class_weights": [1]},
        "binary",
        "sigmoid",
        "class_weights is for head: softmax; use alpha",
    ),
    (
        "ce",
        {"class_weights": [1, 2, 3]},
        "binary",
        "softmax",
        "class_weights: expected 2 numbers, one a plane, got 3",
    ),
    ("ce", {"class_weights": [1, -2]}, "binary", "softmax", "class_weights: expected numbers >= 0"),
    ("bce", {"label_smoothing": 1.5}, "binary", "sigmoid", "label_smoothing: expected a number in"),
    (
        "dice",
        {"label_smoothing": -0.1},
        "binary",
        "sigmoid",
        "label_smoothing: expected a number in",
    ),
    ("focal", {"label_smoothing": 2}, "binary", "softmax", "label_smoothing: expected a number in"),
    ("lovasz", {"label_smoothing": 0.1}, "binary", "sigmoid", "unknown argument 'label_smoothing'"),
    (
        "bce",
        {"top_share": 0},
        "binary",
        "sigmoid",
        "top_share: expected a number above 0, at most 1",
    ),
    (
        "ce",
        {"top_share": 1.5},
        "binary",
        "softmax",
        "top_share: expected a number above 0, at most 1",
    ),
    ("tversky", {"gamma": 0}, "binary", "sigmoid", "gamma: expected > 0, got 0"),
    ("tversky", {"beta": -0.1}, "binary", "sigmoid", "beta: expected >= 0"),
    ("bce", {"weight": 0}, "binary", "sigmoid", "loss: every weight is 0"),
]


@pytest.mark.parametrize(("name", "kwargs", "task", "head", "message"), REFUSED)
def test_what_is_refused_before_any_work(
    name: str, kwargs: dict[str, Any], task: str, head: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, task, head, 1 if task == "binary" else 4, **kwargs)


def test_all_mistakes_come_together() -> None:
    terms = {"dicee": LossTerm(), "ce": LossTerm(), "focal": LossTerm(gama=1)}
    assert len(check_loss(terms, task="binary", head="sigmoid")) == 3


# label smoothing and hard pixels

SMOOTHED = [case for case in NAMED if not case[0].startswith("lovasz")]


@pytest.mark.parametrize(("name", "task", "head", "n_classes"), SMOOTHED)
def test_smoothed_labels_are_soft_truth_where_it_counts(
    name: str, task: str, head: str, n_classes: int
) -> None:
    target = make_target(labels_of(task, n_classes), task, n_classes)
    logits = logits_like(target, head)
    parts = 2 if task != "multiclass" else n_classes
    soft = Target(target.planes * 0.8 + 0.2 / parts, target.valid)  # under ignored pixels too
    wanted, _ = make(name, task, head, n_classes)(logits, soft)
    total, _ = make(name, task, head, n_classes, label_smoothing=0.2)(logits, target)
    assert number(total) == pytest.approx(number(wanted), rel=1e-5)
    plain, _ = make(name, task, head, n_classes)(logits, target)
    same, _ = make(name, task, head, n_classes, label_smoothing=0)(logits, target)
    assert torch.equal(plain, same) and not torch.equal(plain, total)
    ignored = (target.valid == 0).expand_as(logits)
    other = torch.where(ignored, torch.inf, logits)
    again, _ = make(name, task, head, n_classes, label_smoothing=0.2)(other, target)
    assert torch.equal(again, total)
    nothing = Target(target.planes, torch.zeros_like(target.valid))
    empty, _ = make(name, task, head, n_classes, label_smoothing=0.2)(logits, nothing)
    assert number(empty) == 0


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
def test_what_is_empty_stays_so_when_labels_are_smoothed(name: str) -> None:
    target = make_target(torch.zeros(2, 6, 6, dtype=torch.uint8), "binary", 1)
    loss = make(name, "binary", "sigmoid", 1, empty="skip", label_smoothing=0.2)
    assert number(loss(torch.randn(2, 1, 6, 6), target)[0]) == 0


HARD = [("bce", "binary", "sigmoid", 1), ("bce", "multilabel", "sigmoid", 3)]
HARD += [("ce", "binary", "softmax", 1), ("ce", "multiclass", "softmax", 4)]


@pytest.mark.parametrize(("name", "task", "head", "n_classes"), HARD)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.25, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_top_share_is_the_mean_of_the_hardest_valid_pixels(
    name: str, task: str, head: str, n_classes: int, share: float, weighted: bool
) -> None:
    """The oracle: every pixel's loss alone, sorted."""
    n_planes = 2 if task == "binary" and head == "softmax" else n_classes
    weights = [0.5, 3.0, 1.0, 2.0][:n_planes]
    kwargs: dict[str, Any] = {}
    if weighted:
        kwargs = {"class_weights" if name == "ce" else "pos_weight": weights}
    target = make_target(labels_of(task, n_classes), task, n_classes)
    logits = logits_like(target, head).requires_grad_()
    total, _ = make(name, task, head, n_classes, top_share=share, **kwargs)(logits, target)
    if name == "bce":
        each = F.binary_cross_entropy_with_logits(
            logits,
            target.planes,
            pos_weight=torch.tensor(weights).view(-1, 1, 1) if weighted else None,
            reduction="none",
        )[target.valid.expand_as(logits) > 0]
        of = torch.ones_like(each)
    else:
        truth = flat(target) if task == "multiclass" else target.planes[:, 0].long()
        truth = truth.masked_fill(target.valid[:, 0] == 0, 255)
        given = torch.tensor(weights if weighted else [1.0] * n_planes)
        every = F.cross_entropy(logits, truth, weight=given, ignore_index=255, reduction="none")
        each, of = every[truth != 255], given[truth[truth != 255]]
    n = math.ceil(share * len(each) - 1e-6)
    order = each.argsort(descending=True)[:n]
    assert number(total) == pytest.approx(number(each[order].sum() / of[order].sum()), rel=1e-5)
    total.backward()
    assert logits.grad is not None
    touched = (logits.grad != 0).any(1, keepdim=True) if name == "ce" else logits.grad != 0
    assert number(touched.sum()) == n
    ignored = (target.valid == 0).expand_as(logits)
    other = torch.where(ignored, torch.nan, logits.detach())
    again, _ = make(name, task, head, n_classes, top_share=share, **kwargs)(other, target)
    assert torch.equal(again, total)


@pytest.mark.parametrize(("name", "task", "head", "n_classes"), HARD)
@pytest.mark.parametrize("corner", ["all ignored", "one valid pixel", "ties"])
def test_top_share_in_the_corners(
    name: str, task: str, head: str, n_classes: int, corner: str
) -> None:
    labels = torch.full_like(labels_of(task, n_classes), 255 if corner != "ties" else 0)
    if corner == "one valid pixel":
        labels.flatten()[3] = 1
    target = make_target(labels, task, n_classes)
    logits = (logits_like(target, head) * (corner != "ties")).requires_grad_()
    total, _ = make(name, task, head, n_classes, top_share=0.1)(logits, target)
    plain, _ = make(name, task, head, n_classes)(logits, target)
    assert number(total) == pytest.approx(number(plain), rel=1e-5)
    total.backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    if corner == "all ignored":
        assert number(total) == 0
