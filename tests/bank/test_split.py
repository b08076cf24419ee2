"""The paper's split (§4.1): legacy NumPy shuffle per dataset, the first int(0.7 n) are train."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jisi_cli.bank.split import assign_split, paper_split, recorded_order

PAPER = {60: 18, 750: 225, 198: 60, 2158: 648, 1055: 317, 121: 37, 3000: 900, 4326: 1298, 500: 150}
"""Questions and test questions of the paper's nine datasets."""


def mersenne(seed: int) -> random.Random:
    """Python's generator in the state that NumPy's legacy seeding of one whole number gives.

    Both are MT19937; NumPy seeds with init_genrand (Matsumoto and Nishimura 2002), Python with init_by_array.
    """
    state = [seed & 0xFFFFFFFF]
    for place in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + place) & 0xFFFFFFFF)
    generator = random.Random()
    generator.setstate((3, (*state, 624), None))
    return generator


def shuffled(count: int, seed: int) -> list[int]:
    """Return 0..count-1 as the legacy shuffle of a list leaves it: Fisher and Yates from the end, masked rejection."""
    generator = mersenne(seed)
    items = list(range(count))
    for last in range(count - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while (drawn := generator.getrandbits(32) & mask) > last:
            pass
        items[last], items[drawn] = items[drawn], items[last]
    return items


@pytest.mark.parametrize(("questions", "tests"), PAPER.items())
def test_the_paper_s_datasets_have_the_paper_s_test_sets(questions: int, tests: int) -> None:
    roles = paper_split(questions, 0.7, 42)
    assert (len(roles), roles.count("test")) == (questions, tests)


@pytest.mark.parametrize("count", [*PAPER, 1, 2, 3, 10])
@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_the_split_is_the_legacy_shuffle_computed_independently(count: int, seed: int) -> None:
    train = set(shuffled(count, seed)[: int(0.7 * count)])
    assert paper_split(count, 0.7, seed) == ["train" if row in train else "test" for row in range(count)]


def test_the_independent_shuffle_is_numpy_s() -> None:
    expected = list(range(1000))
    np.random.RandomState(42).shuffle(expected)
    assert shuffled(1000, 42) == expected


@given(st.integers(0, 400), st.floats(0.001, 1), st.integers(0, 2**32 - 1))
def test_every_row_has_a_role_and_the_share_is_rounded_down(count: int, fraction: float, seed: int) -> None:
    roles = paper_split(count, fraction, seed)
    assert len(roles) == count
    assert roles.count("train") == int(fraction * count)


@given(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1), st.randoms())
def test_a_dataset_s_split_depends_on_no_neighbour_and_no_order(datasets: list[str], chance: random.Random) -> None:
    alone = assign_split([("b", str(n)) for n in range(40)], [None] * 40, 0.7, 42)
    keys = [(name, str(n)) for name in {*datasets, "b"} for n in range(40)]
    chance.shuffle(keys)
    together = assign_split(keys, [None] * len(keys), 0.7, 42)
    assert {key: role for key, role in together.items() if key[0] == "b"} == alone
    assert [together["b", str(n)] for n in range(40)] == paper_split(40, 0.7, 42)


def test_numbers_are_ordered_as_numbers() -> None:
    indices = [str(number) for number in (10, 9, 100, 1, 0)]
    assert [indices[place] for place in recorded_order(indices, [None] * 5)] == ["0", "1", "9", "10", "100"]


def test_digits_inside_a_name_are_ordered_as_numbers_and_letters_as_text() -> None:
    indices = ["test-10", "test-9", "algebra-2", "test-9-b", "test-9-a", "test-009", "x"]
    ordered = [indices[place] for place in recorded_order(indices, [None] * len(indices))]
    assert ordered == ["algebra-2", "test-009", "test-9", "test-9-a", "test-9-b", "test-10", "x"]


def test_the_source_s_own_number_decides_where_every_row_has_one() -> None:
    indices = ["c", "a", "b"]
    assert recorded_order(indices, [0, 2, 1]) == [0, 2, 1]
    assert recorded_order(indices, [0, None, 1]) == [1, 2, 0]


@given(
    st.lists(st.text(max_size=12) | st.from_regex(r"[a-z]{0,3}[0-9]{0,30}-?[0-9]{0,3}", fullmatch=True), unique=True)
)
def test_any_indices_have_one_order_that_does_not_depend_on_where_they_came_from(indices: list[str]) -> None:
    ordered = [indices[place] for place in recorded_order(indices, [None] * len(indices))]
    assert sorted(ordered) == sorted(indices)
    backwards = indices[::-1]
    assert [backwards[place] for place in recorded_order(backwards, [None] * len(indices))] == ordered


def test_an_index_of_thousands_of_digits_has_its_place() -> None:
    indices = ["9" * 5000, "2", "x" + "1" * 6000]
    assert recorded_order(indices, [None] * 3) == [1, 0, 2]
