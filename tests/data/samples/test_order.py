"""The order of an epoch is a function of (seed, epoch)."""

from __future__ import annotations

from comp.data.samples.order import EpochSampler
from comp.data.samples.sampling import derive


def test_order_is_a_function_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, 3)
    first = list(sampler)
    assert sorted(first) == [(0, i) for i in range(50)]
    sampler.set_epoch(1)
    second = list(sampler)
    assert [i for _, i in first] != [i for _, i in second]
    assert {e for e, _ in second} == {1}
    again = EpochSampler(50, 3)
    again.set_epoch(1)
    assert list(again) == second
    assert list(EpochSampler(50, 4)) != first


def test_derive_is_the_same_everywhere() -> None:
    assert derive(0, 1, "crop") == 4534338081869672492
    assert len({derive(1, 2), derive(12), derive(1, 2, 0), derive(2, 1)}) == 4
    assert 0 <= derive("x") < 2**64
