"""One epoch: train on every sample once, validate when due, keep the best weights."""

from __future__ import annotations

import time
from typing import Any

import torch

from comp.data.samples.loader import TrainLoader
from comp.data.samples.sampling import derive
from comp.data.samples.train import scale_image
from comp.errors import CompError, some
from comp.models.compute import fixed_shapes
from comp.models.extras import add_extras
from comp.models.losses import Target, make_target
from comp.models.step import in_short
from comp.progress import beat
from comp.train.made import judge_ema
from comp.train.memory import cut, is_out_of_memory, next_cut, with_room
from comp.train.state import Loop, Within, copy_weights
from comp.train.validate import Eyes, validate

PSEUDO_LABELLED = "a pseudo-labelled test image"  # its number is negative


def run_epoch(
    loop: Loop, loader: TrainLoader, epoch: int, val_indices: list[int]
) -> dict[str, Any]:
    """Train one epoch, validate when due, keep the best weights, and return the history row."""
    train = loop.job.config.train
    torch.manual_seed(derive(train.seed, "epoch", epoch))
    loop.segmenter.set_epoch(epoch)
    started = time.monotonic()
    lr = loop.optimizer.param_groups[-1]["lr"]
    within = loop.begin_epoch(epoch, lr)
    row: dict[str, Any] = {"epoch": epoch + 1, "lr": within.lr}
    with fixed_shapes(loop.eyes.device):
        row |= train_epoch(loop, loader, epoch)
    if loop.hardness is not None:
        loop.hardness.end_epoch()
        loop.tell(loader)
    seconds = within.seconds + time.monotonic() - started
    row["images_per_second"] = round(row.pop("samples") / seconds, 2)
    if (epoch + 1) % train.validate_every == 0 or epoch + 1 == train.epochs:
        (scores, terms, total), loop.eyes = with_room(
            loop.eyes,
            lambda eyes: validate(loop.segmenter, val_indices, eyes, loop.loss),
            loop.say,
        )
        row["val_loss"] = total
        row |= {f"val_{k}": v for k, v in terms.items()} | {
            f"val_{k}": v for k, v in scores.items()
        }
        score = scores[loop.eyes.competition.metric_name]
        # A stop while this is judged is gone on from before all of what follows.
        judged = {} if loop.averages.ema is None else judge_ema(loop, loader, epoch, val_indices)
        loop.best_metric.offer(score, epoch + 1, loop.segmenter)
        loop.best_loss.offer(total, epoch + 1, loop.segmenter)
        loop.schedule.step_epoch(total, score)
        if loop.averages.top is not None:
            loop.averages.top.offer(score, epoch + 1, lambda: copy_weights(loop.segmenter))
        row |= judged
    row["seconds"] = round(within.seconds + time.monotonic() - started, 3)
    loop.within = Within()
    return row


def train_epoch(loop: Loop, loader: TrainLoader, epoch: int) -> dict[str, Any]:
    """One pass over the training samples, or the rest of one that an earlier attempt began.

    Returns:
        train_loss and every train_<term> (means over samples), samples.
    """
    train, eyes = loop.job.config.train, loop.eyes
    within = loop.begin_epoch(epoch)
    done, sums, before, marked = within.batches, within.sums, within.before, within.marked
    n_samples, n_batches = within.samples, len(loader)
    loop.segmenter.train()
    loop.optimizer.zero_grad(set_to_none=True)
    within.give_back(loop.segmenter)
    window: list[dict[str, torch.Tensor]] = []
    first = done - done % train.accumulate if done < n_batches else n_batches
    for step, batch in enumerate(loader.epoch(epoch, first) if first < n_batches else (), first):
        if step % train.accumulate == 0:
            window = []  # all of a step is done again where memory runs out
            if step >= done:
                before = dict(sums)
                marked = 0 if loop.hardness is None else loop.hardness.mark()
        window.append(batch)
        if step < done:  # learnt from by an earlier attempt
            continue
        n_samples += len(batch["image"])
        of = min(train.accumulate, n_batches - step // train.accumulate * train.accumulate)
        todo = [batch]
        while not learn(loop, todo, of, sums):
            loop.optimizer.zero_grad(set_to_none=True)
            if loop.forward.failed:
                loop.forward.give_up(loop.say)
            else:
                n, least = min(len(b["image"]) for b in window), loop.segmenter.min_batch
                loop.parts = next_cut(loop.parts, n, train.accumulate, least, loop.say)
            todo, sums = window, dict(before)
            if loop.hardness is not None:
                loop.hardness.rewind(marked)
        if (step + 1) % train.accumulate == 0 or step + 1 == n_batches:
            update(loop, epoch + 1)
        # On a GPU the check waits for the device, so it is made now and then and at the end.
        if eyes.device.type == "cpu" or step % 50 == 0 or step + 1 == n_batches:
            check_finite(sums["loss"], loop, epoch, step, batch["number"].tolist())
        beat("steps", step + 1, n_batches, epoch=epoch + 1, epochs=train.epochs, samples=n_samples)
        within.batches, within.samples, within.sums = step + 1, n_samples, sums
        within.before, within.marked = before, marked
        loop.after_batch((step + 1) % train.accumulate == 0 or step + 1 == n_batches)
    return {f"train_{k}": float(v) / n_samples for k, v in sums.items()} | {"samples": n_samples}


def learn(
    loop: Loop, batches: list[dict[str, torch.Tensor]], of: int, sums: dict[str, torch.Tensor]
) -> bool:
    """Add the gradients of batches, and their losses to `sums`.

    False where memory ran out, or what is compiled failed: then `loop.forward.failed` says how.

    Args:
        of: batches that make one step.
        sums: loss and terms times number of samples.
    """
    eyes = loop.eyes
    extra_weights = loop.segmenter.extra_weights
    forward = loop.forward if loop.parts == 1 else loop.segmenter.outputs  # parts: another shape
    try:
        for batch in batches:
            for part in cut(batch, loop.parts):
                target = batch_target(part, eyes)
                images = scale_image(part["image"].to(eyes.device, non_blocking=True))
                x = eyes.compute.to_layout(loop.segmenter.normalize(images))
                with eyes.compute.autocast():
                    outputs = forward(x)
                total, terms = loop.loss(outputs.logits, target)
                total, terms = add_extras(total, terms, outputs, target, loop.loss, extra_weights)
                if loop.hardness is not None:
                    loop.hardness.note(part["number"], outputs.logits, target)
                n = len(images)
                for name, value in {"loss": total.detach(), **terms}.items():
                    sums[name] = sums.get(name, torch.zeros((), device=eyes.device)) + value * n
                share = n / len(batch["image"])  # 1 for a whole batch, which changes no bit
                loop.scaler.scale(total * share / of).backward()
    except CompError:
        raise
    except Exception as error:
        if forward is loop.forward and loop.forward.mode:  # whose memory it may have been
            loop.forward.failed = in_short(error)
        elif not is_out_of_memory(error):
            raise
        return False
    return True


def update(loop: Loop, epoch: int = 0) -> None:
    """One optimizer step from the accumulated gradients, in an epoch (the first is 1)."""
    clip = loop.job.config.train.clip_grad_norm
    if clip is not None:
        loop.scaler.unscale_(loop.optimizer)
        torch.nn.utils.clip_grad_norm_(loop.segmenter.parameters(), clip)
    loop.scaler.step(loop.optimizer)
    loop.scaler.update()
    loop.optimizer.zero_grad(set_to_none=True)
    ended = loop.schedule.cycles_ended
    loop.schedule.step_batch()
    if loop.averages.ema is not None:
        loop.averages.ema.update(loop.segmenter)
    if loop.averages.snapshots is not None and loop.schedule.cycles_ended > ended:
        loop.averages.snapshots.take(epoch, copy_weights(loop.segmenter))


def batch_target(batch: dict[str, torch.Tensor], eyes: Eyes) -> Target:
    """The truth of a training batch on the device."""
    if "planes" in batch:
        planes = batch["planes"].to(eyes.device, non_blocking=True)
        return Target(planes, batch["valid"].to(eyes.device, non_blocking=True))
    labels = batch["labels"].to(eyes.device, non_blocking=True)
    return make_target(labels, eyes.competition.task, eyes.competition.n_classes)


def check_finite(
    total: torch.Tensor, loop: Loop, epoch: int, step: int, numbers: list[int]
) -> None:
    """Stop a job whose loss is no longer a number."""
    if not bool(torch.isfinite(total)):
        ids = ""
        if loop.eyes.device.type == "cpu":  # checked at every step: these images it was
            ids = some([loop.eyes.seen.ids[n] if n >= 0 else PSEUDO_LABELLED for n in numbers])
            mixed = " and what was mixed into them" if loop.job.config.train.mix else ""
            ids = f" (images {ids}{mixed})"
        raise CompError(
            f"the loss is {float(total)} by epoch {epoch + 1} step {step + 1}"
            f"{ids}: lower optim.lr, set train.clip_grad_norm, or use -o train.precision=fp32"
        )
