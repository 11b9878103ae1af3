"""The loss functions: what can stand under `loss:` in a model config.

Each takes (logits, planes, valid), all float32, ignored logits already set to 0 without a gradient, so
that none can depend on them. Means are over valid pixels, or over groups that hold some; a batch
without any is worth 0 and keeps its path to the weights. A group of a region loss is one class of the
batch, or with `per_image` one class of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from comp.models.means import (
    TINY,
    check_at_least,
    check_share,
    mean,
    mean_groups,
    mean_hardest,
    per_class,
    smoothed,
)


def bce(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    pos_weight: float | Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    top_share: float = 1.0,
) -> Tensor:
    """Binary cross-entropy, mean over valid pixels of all planes. Heads: sigmoid.

    Args:
        pos_weight: factor of the foreground's part; one number, or one a class.
        label_smoothing: moves truth this share of the way to 1/2.
        top_share: only this share of the batch's valid pixels counts, those of the highest loss (online
            bootstrapping, Wu et al. 2016).
    """
    soft = smoothed(planes, label_smoothing, "sigmoid")
    weight = None if pos_weight is None else per_class("pos_weight", pos_weight, logits)
    loss = F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weight, reduction="none")
    return mean_hardest(loss, valid.expand_as(loss), top_share)


def ce(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    top_share: float = 1.0,
) -> Tensor:
    """Categorical cross-entropy over the softmax planes, mean over valid pixels. Heads: softmax.

    Args:
        class_weights: one a plane (binary: background, foreground); the mean is then weighted as
            torch's is, by the weight of each pixel's own class.
        label_smoothing: share of truth spread evenly over all classes.
        top_share: as in `bce`.
    """
    logp = F.log_softmax(logits, dim=1)
    soft = smoothed(planes, label_smoothing, "softmax")
    if class_weights is None:
        return mean_hardest(-(soft * logp).sum(1, keepdim=True), valid, top_share)
    weight = per_class("class_weights", class_weights, logits)
    loss = -(weight * soft * logp).sum(1, keepdim=True)
    return mean_hardest(loss, valid, top_share, (weight * planes).sum(1, keepdim=True))


def focal(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    head: str,
    gamma: float = 2.0,
    alpha: float | None = None,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Focal loss (Lin et al. 2017), mean over valid pixels; gamma 0 is cross-entropy, for either head.

    Sigmoid: |t - p|^gamma * BCE, which takes soft truth (quality focal loss, Li et al. 2020).
    Softmax: sum over classes of -t (1 - p)^gamma log p: the softmax focal loss, not one-against-rest.

    Args:
        alpha: sigmoid only: weight of the foreground, 1 - alpha of the background.
        class_weights: softmax only: one a plane.
        label_smoothing: as in `bce` and `ce`.
    """
    check_at_least("gamma", gamma, 0)
    planes = smoothed(planes, label_smoothing, head)
    if head == "sigmoid":
        if class_weights is not None:
            raise ValueError("class_weights is for head: softmax; use alpha")
        p = torch.sigmoid(logits)
        loss = F.binary_cross_entropy_with_logits(logits, planes, reduction="none")
        if gamma:
            loss = loss * (planes - p).abs().clamp_min(TINY) ** gamma
        if alpha is not None:
            check_share("alpha", alpha)
            loss = loss * (alpha * planes + (1 - alpha) * (1 - planes))
        return mean(loss, valid.expand_as(loss))
    if alpha is not None:
        raise ValueError("alpha is for head: sigmoid; use class_weights")
    logp = F.log_softmax(logits, dim=1)
    terms = -planes * logp
    if gamma:
        terms = terms * (1 - logp.exp()).clamp_min(TINY) ** gamma
    if class_weights is not None:
        terms = terms * per_class("class_weights", class_weights, logits)
    return mean(terms.sum(1, keepdim=True), valid)


def dice(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    head: str,
    per_image: bool = False,
    smooth: float = 1.0,
    empty: str = "penalize",
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """1 - Dice, mean over groups; soft truth costs 0 at p = t (Dice semimetric, Wang et al. 2023).

    Args:
        per_image: one Dice an image and class, then the mean; false: one a class over the batch.
        smooth: pixels added to the true positives, above and below the fraction.
        empty: a group without truth: "penalize" keeps it (what is predicted there costs, at a rate
            that `smooth` sets); "skip" leaves it out of the mean.
        class_weights: one a plane, 0 leaves a class out.
        label_smoothing: as in `bce` and `ce`; what is empty stays so.
    """
    group = Group(head, per_image, smooth, empty, class_weights, label_smoothing)
    return _region(logits, planes, valid, 0.5, 0.5, group)


def jaccard(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    head: str,
    per_image: bool = False,
    smooth: float = 1.0,
    empty: str = "penalize",
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """1 - IoU, mean over groups; soft truth costs 0 at p = t (Jaccard metric loss). Arguments: `dice`."""
    group = Group(head, per_image, smooth, empty, class_weights, label_smoothing)
    return _region(logits, planes, valid, 1.0, 1.0, group)


def tversky(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    head: str,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 1.0,
    per_image: bool = False,
    smooth: float = 1.0,
    empty: str = "penalize",
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """(1 - TP / (TP + alpha FP + beta FN))^gamma, mean over groups (Salehi et al. 2017; gamma: Abraham 2019).

    Args:
        alpha: cost of a false positive.
        beta: cost of a false negative. The rest: `dice`.
    """
    for name, value in (("alpha", alpha), ("beta", beta)):
        check_at_least(name, value, 0)
    if gamma <= 0:
        raise ValueError(f"gamma: expected > 0, got {gamma!r}")
    group = Group(head, per_image, smooth, empty, class_weights, label_smoothing)
    return _region(logits, planes, valid, alpha, beta, group, gamma)


def lovasz(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    *,
    head: str,
    per_image: bool = False,
    empty: str = "penalize",
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Lovasz hinge (sigmoid) or Lovasz-softmax (Berman et al. 2018), mean over groups.

    Truth must be hard here, so soft planes are cut: at 1/2 for sigmoid, to the largest for softmax; and
    labels cannot be smoothed.
    Arguments: `dice`; for an empty group "penalize" costs its highest false pixel.
    """
    if head == "sigmoid":
        hard = (planes >= 0.5).float()
        errors = 1 - logits * (2 * hard - 1)
    else:
        hard = F.one_hot(planes.argmax(1), planes.shape[1]).movedim(-1, 1).float()
        errors = (hard - torch.softmax(logits, dim=1)).abs()
    counts = valid.expand_as(hard) > 0
    hard, errors = (
        hard * counts,
        errors.masked_fill(~counts, -1e4),
    )  # ignored: sorted last, cut by relu
    if per_image:
        hard, errors, counts = hard.flatten(2), errors.flatten(2), counts.flatten(2)
    else:
        hard, errors, counts = (x.transpose(0, 1).flatten(1) for x in (hard, errors, counts))
    errors, order = errors.sort(dim=-1, descending=True)
    loss = (F.relu(errors) * _lovasz_gradient(hard.gather(-1, order))).sum(-1)
    return mean_groups(loss, counts.any(-1), hard.any(-1), empty, class_weights, logits)


@torch.no_grad()
def _lovasz_gradient(truth: Tensor) -> Tensor:
    """Gradient of the Lovasz extension of 1 - IoU; truth (..., n) of 0 and 1, sorted by falling error."""
    exact = torch.float32 if truth.shape[-1] < 2**24 else torch.float64  # float32 counts no further
    truth = truth.to(exact)
    total = truth.sum(-1, keepdim=True)
    loss = 1 - (total - truth.cumsum(-1)) / (total + (1 - truth).cumsum(-1))
    return torch.diff(loss, dim=-1, prepend=torch.zeros_like(total)).float()


@dataclass(frozen=True)
class Group:
    """How the region losses group and weigh; the arguments are `dice`'s."""

    head: str
    per_image: bool
    smooth: float
    empty: str
    class_weights: Sequence[float] | None
    label_smoothing: float


def _region(
    logits: Tensor,
    planes: Tensor,
    valid: Tensor,
    alpha: float,
    beta: float,
    group: Group,
    gamma: float = 1.0,
) -> Tensor:
    """1 - Tversky index a group; (1/2, 1/2) is Dice and (1, 1) IoU."""
    check_at_least("smooth", group.smooth, 0)
    sigmoid = group.head == "sigmoid"
    probs = (torch.sigmoid(logits) if sigmoid else torch.softmax(logits, dim=1)) * valid
    over = (2, 3) if group.per_image else (0, 2, 3)
    soft = planes
    if group.label_smoothing:
        soft = smoothed(planes, group.label_smoothing, group.head) * valid
    # p t where truth is hard; where it is soft, this costs 0 at p = t and p t would not
    overlap = torch.minimum(probs, soft).sum(over)
    predicted, truth = probs.sum(over), soft.sum(over)
    unlike = alpha * (predicted - overlap) + beta * (truth - overlap)
    loss = unlike / (overlap + unlike + group.smooth).clamp_min(TINY)
    if gamma != 1:
        loss = (loss + TINY) ** gamma - TINY**gamma  # a finite slope at 0 for gamma < 1
    counts = (valid.expand_as(planes) > 0).flatten(2).any(-1)
    if not group.per_image:
        counts = counts.any(0)
    has_truth = planes.sum(over) > 0
    return mean_groups(loss, counts, has_truth, group.empty, group.class_weights, logits)


@dataclass(frozen=True)
class Loss:
    """A loss function and the heads it makes sense for."""

    function: Callable[..., Tensor]
    heads: tuple[str, ...] = ("sigmoid", "softmax")
    instead: str = ""  # what to use with another head


LOSSES: dict[str, Loss] = {
    "bce": Loss(bce, ("sigmoid",), "ce"),
    "ce": Loss(ce, ("softmax",), "bce"),
    "focal": Loss(focal),
    "dice": Loss(dice),
    "jaccard": Loss(jaccard),
    "tversky": Loss(tversky),
    "lovasz": Loss(lovasz),
    # the same, with what they are a mean over in the name, as history.csv and the log then have it
    "dice_image": Loss(partial(dice, per_image=True)),
    "dice_batch": Loss(partial(dice, per_image=False)),
    "jaccard_image": Loss(partial(jaccard, per_image=True)),
    "jaccard_batch": Loss(partial(jaccard, per_image=False)),
    "tversky_image": Loss(partial(tversky, per_image=True)),
    "tversky_batch": Loss(partial(tversky, per_image=False)),
    "lovasz_image": Loss(partial(lovasz, per_image=True)),
    "lovasz_batch": Loss(partial(lovasz, per_image=False)),
}
