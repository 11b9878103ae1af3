"""Training samples as tensors: what sample i of epoch e looks like is a function of (seed, e, i) alone.

So any number of workers gives the same data, and nothing random has to be saved to go on with a run.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from comp.config import Train
from comp.data.cache.cache import Cache, Recipe
from comp.data.images.resize import soft_target
from comp.data.samples.augment import Augment
from comp.data.samples.crop import random_crop
from comp.data.samples.positive import Pixels, crop_around
from comp.data.samples.sampling import Drawing, EpochSampler, Key, Plan, derive, make_drawing
from comp.errors import DataError

Sample = dict[str, torch.Tensor]
PREFETCH = 3  # batches that the prefetch thread makes ahead


def train_recipe(train: Train) -> Recipe:
    """The cache that training in this way reads."""
    if train.mode == "crop":
        return Recipe(stretch=train.stretch)
    return Recipe(train.size, train.soft_masks, train.stretch)


def crops_of(train: Train, size: tuple[int, ...]) -> int:
    """Samples that an image of (H, W) gives in an epoch.

    With ``crops_per_image: auto`` it is the square root of how many windows fit into the image, rounded
    up: large images are seen more often than small ones, but not in proportion to their pixels.
    """
    if train.mode == "resize":
        return 1
    if train.crops_per_image != "auto":
        return train.crops_per_image
    return max(1, math.ceil(math.sqrt(size[0] * size[1] / (train.size[0] * train.size[1]))))


class TrainSamples(Dataset[Sample]):
    """Samples of one fold's training images.

    Mode crop: a window of `train.size` at a random place, at native scale or zoomed by `scale_jitter`
    (log-uniform; 2 shows things twice as large). Where the image is smaller than the window, image and
    labels are both reflected, so every pixel has its true label. `crops_per_image` samples an image.
    Mode resize: the whole image as the cache holds it, one sample an image.
    With `train.sampler` an epoch draws from these by its `drawing`, some of them several times.

    Args:
        cache: of `train_recipe(train)`.
        indices: positions in the cache, one an image.
        seed: `train.seed` and whatever else the caller derives it from.
        background: the class that is no foreground to the sampler (`Competition.background`).
    """

    def __init__(
        self,
        cache: Cache,
        indices: Sequence[int],
        train: Train,
        augment: Augment,
        seed: int,
        task: str,
        n_classes: int,
        background: int | None = None,
    ) -> None:
        if cache.recipe != train_recipe(train):
            raise ValueError(
                f"train wants the cache {train_recipe(train).kind}, got {cache.recipe.kind}"
            )
        if len(indices) == 0:
            raise DataError(
                "no images to train on: every image is in the validation fold or held out; run `comp folds`"
            )
        if alone := [cache.ids[i] for i in indices if cache.labels(i) is None]:
            raise DataError(
                f"{len(alone)} training images have no mask, among them {alone[0]!r}; set data.train masks"
            )
        self.cache = cache
        self.indices = [int(i) for i in indices]
        self.train = train
        self.augment = augment
        self.seed = seed
        self.task = task
        self.n_classes = n_classes
        self.background = background
        # The image of each sample of an epoch, as a place in `indices`.
        self.place = [
            n
            for n, i in enumerate(self.indices)
            for _ in range(crops_of(train, cache.image(i).shape[:2]))
        ]
        self._pixels = Pixels(cache, task)

    @cached_property
    def drawing(self) -> Drawing | None:
        """How `train.sampler` draws an epoch; None without one: every sample once.

        Raises:
            ConfigError, DataError: it does not fit the task, or these images.
        """
        if self.train.sampler is None:
            return None
        stats, chosen = self.cache.stats, np.array(self.indices)
        presence, coverage = stats.presence()[chosen], stats.coverage()[chosen]
        if self.background is not None:
            presence[:, self.background] = False  # nearly everywhere, so it says nothing
        return make_drawing(self.train, presence, coverage, self.place, self.task)

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, key: Key) -> Sample:
        """Draw one sample.

        Args:
            key: (epoch, index), and, in mode crop, a class that the crop must hold. Beyond len - 1 the
                indices begin again, each time with other draws.

        Returns:
            "image": (C, h, w) uint8, or float32 in [0, 1]; "number": int64, the image's position in the cache;
            and "labels": (h, w) or (K, h, w) uint8, 255 is ignored;
            or (soft masks) "planes": (K, h, w) float32 in [0, 1] and "valid": (1 or K, h, w) float32, 0 or 1.
        """
        epoch, index, *wanted = key
        number = self.indices[self.place[index % len(self.place)]]
        image, labels = self.cache.image(number), self.cache.labels(number)
        assert labels is not None  # checked above
        if image.dtype != self.cache.image_dtype:  # 8-bit beside 16-bit images: one type a batch
            image = image.astype(np.float32) / np.float32(255)
        if self.train.mode == "crop":
            rng = np.random.default_rng(derive(self.seed, epoch, index, "crop"))
            size, jitter = self.train.size, self.train.scale_jitter
            pixel = self._pixels.draw(number, wanted[0], rng) if wanted else None
            if pixel is None:
                image, labels = random_crop(image, labels, size, jitter, rng)
            else:
                image, labels = crop_around(image, labels, size, jitter, pixel, rng)
        image, labels = self.augment(image, labels, derive(self.seed, epoch, index, "augment"))
        sample = {"image": _tensor(image.transpose(2, 0, 1)), "number": torch.tensor(number)}
        if not self.cache.recipe.soft:
            return sample | {"labels": _tensor(labels)}
        planes, valid = soft_target(labels, self.task, self.n_classes)
        return sample | {"planes": _tensor(planes), "valid": _tensor(valid)}


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of its own memory (the cache's is read-only)."""
    return torch.from_numpy(np.array(array, order="C"))


def scale_image(image: torch.Tensor) -> torch.Tensor:
    """Bring a batch of images to float32 in [0, 1], on the device where it lies.

    Args:
        image: (B, C, h, w) uint8, or float32 already in [0, 1].
    """
    if image.dtype == torch.uint8:
        return image.to(torch.float32).div_(255)
    return image.to(torch.float32)


class TrainLoader:
    """Batches of `samples`, epoch by epoch. `train_loader` makes one.

    Attributes:
        n_batches: batches an epoch (also ``len(loader)``). When there is more than one batch the last,
            incomplete one is left out: BatchNorm fails on a batch of one, and every epoch has another order.
    """

    def __init__(
        self,
        samples: TrainSamples,
        batch_size: int,
        seed: int,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.pin_memory = pin_memory
        self.sampler = EpochSampler(len(samples), seed, samples.drawing)
        self.n_batches = max(1, len(self.sampler) // batch_size)
        self._plan = Plan(self.sampler, batch_size, self.n_batches)
        self._workers: DataLoader[Sample] | None = None
        if workers > 0:
            self._workers = DataLoader(
                samples,
                batch_sampler=self._plan,
                num_workers=workers,
                collate_fn=collate,
                pin_memory=pin_memory,
                worker_init_fn=_one_thread,
                persistent_workers=True,
                multiprocessing_context="spawn",  # a fork inherits OpenCV's thread pool and hangs
                generator=torch.Generator().manual_seed(derive(seed, "workers") % 2**63),
            )

    def __len__(self) -> int:
        return self.n_batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Sample]:
        """Yield the batches of one epoch, from batch number `start` on (resuming inside an epoch).

        Yields:
            what `TrainSamples` gives, stacked: "image" (B, C, h, w), "labels" (B, ...) or "planes" and
            "valid", "number" (B,); in pinned memory if asked.
        """
        self.sampler.set_epoch(epoch)
        self._plan.start = start
        return iter(self._workers) if self._workers is not None else self._prefetched()

    def close(self) -> None:
        """Stop the worker processes, if there are any."""
        iterator = None if self._workers is None else self._workers._iterator
        stop = getattr(iterator, "_shutdown_workers", None)  # torch has no public way
        if self._workers is not None and stop is not None:
            stop()
            self._workers._iterator = None

    def _prefetched(self) -> Iterator[Sample]:
        """Make batches in one thread, a few ahead. Its exceptions are raised here; leaving early stops it."""
        plan = list(self._plan)
        ready: queue.Queue[Sample | BaseException] = queue.Queue(PREFETCH)
        stop = threading.Event()

        def work() -> None:
            try:
                for keys in plan:
                    batch = collate([self.samples[key] for key in keys])
                    if self.pin_memory:
                        batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
                    if not _put(ready, batch, stop):
                        return
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                _put(ready, error, stop)

        thread = threading.Thread(target=work, name="prefetch", daemon=True)
        thread.start()
        try:
            for _ in plan:
                made = ready.get()
                if isinstance(made, BaseException):
                    raise made
                yield made
        finally:
            stop.set()
            thread.join()


def _put(ready: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Put `item` when there is room; False when nobody wants it any more."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def collate(samples: list[Sample]) -> Sample:
    """Stack samples, key by key."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def _one_thread(worker: int) -> None:
    """Workers are the parallelism; OpenCV's own threads would only get in their way."""
    cv2.setNumThreads(1)


def train_loader(samples: TrainSamples, train: Train, device: torch.device) -> TrainLoader:
    """Make the loader of a fold's training, as `train` says: batch_size, seed, workers.

    Workers 0 is a prefetch thread in this process, the best on a CPU; n is that many processes,
    started by `spawn` and kept over all epochs. On CUDA the batches lie in pinned memory.

    Returns:
        `loader.epoch(e)` yields the batches of one epoch; `loader.close()` ends the workers.
    """
    return TrainLoader(samples, train.batch_size, train.seed, train.workers, device.type == "cuda")
