"""Halves are to us what they are to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from jisi_cli.scoring.exact_sums import are_finite, to_single

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)


def same_bits(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == np.float32 and np.array_equal(found.view(np.uint32), wanted.view(np.uint32))


def test_every_finite_half_is_exact_to_the_bit() -> None:
    finite = EVERY[np.isfinite(EVERY)]
    assert len(finite) == 2 * 31 * 1024
    assert same_bits(to_single(finite), finite.astype(np.float32))


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_what_is_no_finite_number_stays_what_it_is(odd: float) -> None:
    halves = np.array([[0.5, odd], [-0.25, 6e-8]], dtype=np.float16)
    found = to_single(halves)
    assert np.array_equal(found, halves.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("shape", [(0,), (0, 384), (1, 1), (3, 5)])
def test_shape_and_order_are_kept(shape: tuple[int, ...]) -> None:
    halves = np.random.default_rng(0).standard_normal(shape).astype(np.float16)
    assert same_bits(to_single(halves), halves.astype(np.float32))
    turned = halves.T
    assert np.array_equal(to_single(turned), turned.astype(np.float32))


def test_the_halves_themselves_are_left_alone() -> None:
    halves = np.array([1.5, -2.0], dtype=np.float16)
    halves.setflags(write=False)
    assert to_single(halves).tolist() == [1.5, -2.0] == halves.tolist()


def test_which_halves_are_finite() -> None:
    assert [are_finite(half) for half in EVERY.reshape(-1, 1)] == np.isfinite(EVERY).tolist()
    assert are_finite(EVERY[:0])
    assert not are_finite(np.array([[1.0, 2.0], [np.nan, 3.0]], dtype=np.float16))
