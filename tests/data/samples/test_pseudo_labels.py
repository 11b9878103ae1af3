"""Stored probabilities as soft labels: kept where sure, of the fold's own models, on the network's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from comp.config import data_root
from comp.data.cache.cache import Cache, Recipe
from comp.data.cache.open import open_cache
from comp.data.images.resize import soft_target
from comp.data.samples import pseudo_labels
from comp.data.samples.pseudo import PseudoMember, PseudoSource
from comp.data.samples.pseudo_labels import Written, label_planes, write_labels
from comp.data.sources.records import find_records
from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, sha256
from comp.store import Probs, ProbsWriter
from tests.fake_runs import SIZE, make_competition

bounds = st.tuples(st.integers(0, 10), st.integers(0, 10)).map(lambda b: (min(b) / 10, max(b) / 10))


def naive(sums: np.ndarray, whole: int, task: str, confidence: tuple[float, float]) -> Any:
    """Pixel by pixel: truth and validity."""
    n_classes, height, width = sums.shape
    target = np.zeros(sums.shape)
    valid = np.zeros((n_classes if task == "multilabel" else 1, height, width))
    for r in range(height):
        for c in range(width):
            p = [s / whole for s in sums[:, r, c].tolist()]
            if task == "multiclass":
                p = [v / (sum(p) or 1) for v in p]
                first, second = sorted(p)[::-1][:2]
                sure = [first >= confidence[1] - 1e-9 and second <= confidence[0] + 1e-9]
            else:
                sure = [v <= confidence[0] + 1e-9 or v >= confidence[1] - 1e-9 for v in p]
            valid[:, r, c] = sure
            target[:, r, c] = p
    return target * valid, valid


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@given(data=st.data())
def test_labels_are_the_probabilities_where_they_are_sure(task: str, data: st.DataObject) -> None:
    k, members = 1 if task == "binary" else 3, data.draw(st.integers(1, 3))
    whole = 255 * members
    sums = data.draw(arrays(np.int32, (k, 3, 4), elements=st.integers(0, whole)))
    confidence = data.draw(bounds)
    planes = label_planes(sums, whole, task, confidence)
    assert planes.dtype == np.uint8 and planes.shape[0] == k + (k if task == "multilabel" else 1)
    target, valid = soft_target(planes, task, k)
    expected, sure = naive(sums, whole, task, confidence)
    assert (valid == sure).all()
    assert np.abs(target * valid - expected).max() <= 2 / 255
    if task == "multiclass":
        some = (valid[0] > 0) & (sums.sum(0) > 0)
        assert np.allclose(target.sum(0)[some], 1, atol=1e-6)


def test_pixels_between_the_bounds_are_ignored() -> None:
    sums = np.array([[[0, 25, 26, 128, 229, 230, 255]]], np.int32)
    planes = label_planes(sums, 255, "binary", (0.1, 0.9))
    assert (planes[1, 0] > 0).tolist() == [True, True, False, False, False, True, True]
    assert planes[0, 0].tolist() == [0, 25, 0, 0, 0, 230, 255]
    assert (label_planes(sums * 2, 510, "binary", (0.1, 0.9)) == planes).all()
    assert (label_planes(sums, 255, "binary", (0.5, 0.5))[1] == 255).all()  # nothing is between


NATIVE = Recipe()


class Two:
    """Two fake members of two folds whose probabilities say which fold they are of."""

    def __init__(self, root: Path) -> None:
        self.workspace, self.competition = make_competition(root, n_test=3)
        self.records = find_records(
            self.competition, data_root(self.workspace, self.competition)
        ).test
        self.members = []
        for name, store, shift in (("a", "uint8", 0), ("b", "uint16", 4)):
            files = {}
            for fold in range(2):
                folder = self.workspace.fold(name, fold)
                with ProbsWriter(folder / "test.none", store) as writer:
                    for n, record in enumerate(self.records):
                        value = (100 * fold + 10 * n + shift) * (257 if store == "uint16" else 1)
                        writer.append(
                            record.image_id, np.full((1, SIZE, SIZE), value, writer.dtype)
                        )
                    for path in writer.commit():
                        files[f"fold{fold}/{path.name}"] = sha256(path)
            self.members.append(PseudoMember(name, "none", f"hash-{name}", files))
        self.source = PseudoSource("both", "ensemble", tuple(self.members))

    def cache(self, recipe: Recipe = NATIVE) -> Cache:
        return open_cache(self.workspace.cache, self.competition, self.records, recipe)

    def write(self, fold: int, recipe: Recipe = NATIVE, confidence: Any = (0.5, 0.5)) -> Written:
        stem = self.workspace.root / f"labels{fold}"
        return write_labels(self.source, self.workspace, fold, self.cache(recipe), confidence, stem)


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


def test_fold_k_is_labelled_by_the_models_of_fold_k(two: Two) -> None:
    for fold in range(2):
        written = two.write(fold)
        labels = Probs(written.path)
        for n, record in enumerate(two.records):
            planes = labels.read(record.image_id)
            assert planes.shape == (2, SIZE, SIZE)
            assert (planes[0] == 100 * fold + 10 * n + 2).all() and (planes[1] == 255).all()
        assert written.kept == 1 and written.foreground == pytest.approx(0)


def test_labels_of_a_fold_need_no_file_of_another(two: Two) -> None:
    for member in two.members:
        (two.workspace.fold(member.run, 1) / "test.none.npy").unlink()
    assert two.write(0).kept == 1
    with pytest.raises(RunMismatchError, match=r"fold1/test\.none\.npy changed .* got missing"):
        two.write(1)


def test_shares_are_told(two: Two) -> None:
    written = two.write(1, confidence=(0.42, 0.45))  # 102, 112 and 122 of 255
    assert written.kept == pytest.approx(2 / 3) and written.foreground == 0
    written = two.write(1, confidence=(0.1, 0.45))
    assert written.kept == pytest.approx(1 / 3)


def test_bands_are_as_the_whole(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Probs(two.write(1).path).flat.copy()
    small = Probs(two.write(1, Recipe((10, 7))).path).flat.copy()
    monkeypatch.setattr(pseudo_labels, "BAND_PIXELS", 5 * SIZE)
    assert (Probs(two.write(1).path).flat == whole).all()
    assert (Probs(two.write(1, Recipe((10, 7))).path).flat == small).all()


def test_resized_labels_are_area_means_of_what_is_sure(two: Two) -> None:
    folder = two.workspace.fold("a", 0)
    rng = np.random.default_rng(0)
    given_ = {}
    with ProbsWriter(folder / "test.none") as writer:
        for record in two.records:
            given_[record.image_id] = rng.integers(0, 256, (1, SIZE, SIZE)).astype(np.uint8)
            writer.append(record.image_id, given_[record.image_id])
        files = {f"fold0/{path.name}": sha256(path) for path in writer.commit()}
    source = PseudoSource("a", "run", (PseudoMember("a", "none", "h", files),))
    cache = two.cache(Recipe((SIZE // 2, SIZE // 3)))
    written = write_labels(
        source, two.workspace, 0, cache, (0.2, 0.7), two.workspace.root / "labels"
    )
    for image_id, q in given_.items():
        planes = Probs(written.path).read(image_id)
        target, valid = soft_target(planes, "binary", 1)
        p = q[0] / 255
        sure = (p <= 0.2) | (p >= 0.7)
        blocks = (SIZE // 2, 2, SIZE // 3, 3)
        part = sure.reshape(blocks).mean(axis=(1, 3))
        mean = (p * sure).reshape(blocks).mean(axis=(1, 3)) / np.maximum(part, 1e-9)
        assert (valid[0] > 0).tolist() == (part >= 0.5 - 1e-9).tolist()
        assert np.abs(target[0] - mean)[valid[0] > 0].max() < 3 / 255


def test_a_changed_file_is_refused(two: Two) -> None:
    path = two.workspace.fold("b", 0) / "test.none.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunMismatchError, match="changed since the pseudo-labels were planned"):
        two.write(0)
    assert not list(two.workspace.root.glob("*labels*"))


def test_images_of_another_size_are_refused(two: Two) -> None:
    folder = two.workspace.fold("a", 0)
    with ProbsWriter(folder / "test.none") as writer:
        for record in two.records:
            writer.append(record.image_id, np.zeros((1, SIZE, SIZE - 1), np.uint8))
        files = {f"fold0/{path.name}": sha256(path) for path in writer.commit()}
    two.source = PseudoSource("a", "run", (PseudoMember("a", "none", "h", files),))
    with pytest.raises(
        RunMismatchError,
        match=rf"test image 't00': expected \(1, {SIZE}, {SIZE}\), got \(1, {SIZE}, {SIZE - 1}\)",
    ):
        two.write(0)


def test_nothing_sure_is_refused(two: Two) -> None:
    with pytest.raises(DataError, match=r"fold 1: no pixel of 3 test images .* \[0\.1, 0\.9\]"):
        two.write(1, confidence=(0.1, 0.9))
    assert not list(Workspace(two.workspace.root, "toy").root.glob("*labels*"))
