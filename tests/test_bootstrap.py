"""Resampling, intervals and tests, against plain loops and hand arithmetic."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from hlvbench.bootstrap import (
    Draws,
    clusters,
    decode,
    difference_p,
    encode,
    every_item_once,
    holm,
    interval,
    item_draws,
    mean_over_annotators,
    paired_p,
    seeded,
    weighted_means,
)
from hlvbench.types import Item
from tests.toy import toy_task


def _item(number: int, **text: str) -> Item:
    return Item(str(number), text)


def test_items_that_share_a_text_are_one_cluster_transitively_and_across_fields() -> None:
    items = [
        _item(0, p="a dog", h="x"),
        _item(1, p="b", h="y"),
        _item(2, p="A  Dog ", h="z"),  # shares its premise with 0, case and spacing aside
        _item(3, p="c", h="Z"),  # shares its hypothesis with 2
        _item(4, p="y", h="w"),  # its premise is 1's hypothesis
    ]
    assert clusters(items) == ((0, 2, 3), (1, 4))


def test_a_character_composed_or_not_is_the_same_text() -> None:
    assert clusters([_item(0, p="caf\u00e9"), _item(1, p="cafe\u0301")]) == ((0, 1),)


def test_a_group_counts_instead_of_texts() -> None:
    # 0 and 2 share a text, and 3 is named as the group of 1
    items = [replace(_item(n, p=text), group=group) for n, (text, group) in enumerate(
        [("same", "g"), ("b", "h"), ("same", "i"), ("h", "h"), ("same", None), ("g", None)]
    )]  # fmt: skip
    assert clusters(items) == ((0,), (1, 3), (2,), (4,), (5,))


def test_a_draw_depends_on_task_split_seed_and_number_alone() -> None:
    task = toy_task()
    items = [task.items[i] for i in task.splits["test"]]
    many, few = item_draws(items, "toy@1", "test", replicates=8), item_draws(items, "toy@1", "test", replicates=3)
    assert (many.picks[:3] == few.picks).all()
    for other in (("toy@2", "test", 0), ("toy@1", "dev", 0), ("toy@1", "test", 1)):
        assert (item_draws(items, *other, replicates=3).picks != few.picks).any()


def test_the_random_stream_is_the_same_on_every_machine() -> None:
    # PCG64 seeded with the first 16 bytes, little-endian, of sha256("a:1")
    import hashlib

    start = int.from_bytes(hashlib.sha256(b"a:1").digest()[:16], "little")
    expected = np.random.Generator(np.random.PCG64(start)).random(3)
    assert (seeded("a", 1).random(3) == expected).all()


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.integers(0, 99))
def test_weights_count_what_stands_in_the_lists(sizes: list[int], seed: int) -> None:
    ends = np.cumsum(sizes)
    groups = tuple(tuple(range(end - size, end)) for size, end in zip(sizes, ends, strict=True))
    draws = Draws(groups, np.random.default_rng(seed).integers(0, len(groups), (5, len(groups))))
    for row, positions in zip(draws.counts.T, draws.lists, strict=True):
        assert (row == np.bincount(positions, minlength=int(ends[-1]))).all()


def test_every_item_once_is_the_list_itself() -> None:
    assert (every_item_once(4).counts == 1).all()
    assert next(every_item_once(4).lists).tolist() == [0, 1, 2, 3]


def test_weighted_means_equal_a_loop_over_the_lists() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((12, 3))
    values[rng.random((12, 3)) < 0.3] = np.nan
    values[:, 2] = np.nan
    draws = Draws(tuple((i, i + 1) for i in range(0, 12, 2)), rng.integers(0, 6, (20, 6)))
    found = weighted_means(values, draws)
    for r, positions in enumerate(draws.lists):
        for k in range(2):
            cells = [values[i, k] for i in positions if not np.isnan(values[i, k])]
            assert found[r, k] == pytest.approx(sum(cells) / len(cells))
        assert np.isnan(found[r, 2])


def test_the_mean_over_annotators_leaves_out_those_without_a_value() -> None:
    found = mean_over_annotators(np.array([[1.0, np.nan, 3.0], [np.nan] * 3]))
    assert found[0] == 2.0
    assert np.isnan(found[1])


def test_an_interval_is_recentred_on_the_estimate_and_cut_to_the_range() -> None:
    # replicates 0, .01, ..., 1: mean .5, quantiles .025 and .975; estimate .8 -> bias -.3
    replicates = np.linspace(0, 1, 101)
    assert interval(0.8, replicates, (0.0, 1.0)) == pytest.approx((0.325, 1.0))  # .025 + .3; .975 + .3 = 1.275, cut
    assert interval(0.8, replicates) == pytest.approx((0.325, 1.275))


@pytest.mark.parametrize("zeros", [0, 4, 5, 100])
def test_an_interval_reaches_the_end_of_the_range_that_the_test_does_not_reject(zeros: int) -> None:
    # 200 replicates, mean .05 or less, around an estimate of .1: recentred, the quantiles lie above 0
    replicates = np.concatenate([np.zeros(zeros), np.linspace(0.04, 0.06, 200 - zeros)])
    (low, _), (_, high) = interval(0.1, replicates, (0.0, 1.0)), interval(0.9, 1 - replicates, (0.0, 1.0))
    # 2 (4 + 1) / 201 = .0498, 2 (5 + 1) / 201 = .0597
    assert (low == 0.0) == (zeros >= 5) == (difference_p(0.1, replicates, 100)[0] >= 0.05)
    assert high == 1.0 or zeros < 5
    assert interval(0.1, replicates)[0] > 0.0


def test_an_interval_without_numbers_is_none() -> None:
    assert interval(float("nan"), np.array([0.5])) is None
    assert interval(0.5, np.array([np.nan, np.nan])) is None


def test_undefined_replicates_are_left_out_of_an_interval() -> None:
    with_nan = np.array([0.1, np.nan, 0.2, 0.3])
    assert interval(0.2, with_nan) == interval(0.2, np.array([0.1, 0.2, 0.3]))


def test_paired_p_by_hand() -> None:
    # none of three recentred replicates is <= 0: 2 (0 + 1) / (3 + 1) = .5
    assert paired_p(0.2, np.array([0.1, 0.2, 0.3])) == pytest.approx(0.5)
    # recentring moves them to -.1, .0, .1: two are <= 0 and two >= 0: 2 (2 + 1) / 4 > 1
    assert paired_p(0.0, np.array([0.1, 0.2, 0.3])) == 1.0
    # 999 replicates around 1 with no crossing: 2 / 1000
    assert paired_p(1.0, np.linspace(0.9, 1.1, 999)) == pytest.approx(0.002)


@given(st.floats(-1, 1), st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_paired_p_does_not_care_which_system_comes_first(difference: float, replicates: list[float]) -> None:
    values = np.array(replicates)
    assert paired_p(difference, values) == pytest.approx(paired_p(-difference, -values))


def test_holm_by_hand() -> None:
    # sorted .01 .03 .04 -> 3(.01) = .03, 2(.03) = .06, 1(.04) = .04 raised to .06
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_its_definition_as_a_maximum(p_values: dict[str, float]) -> None:
    # Holm 1979: adjusted p of rank j is max over i <= j of min(1, (n - i + 1) p_(i))
    ordered = sorted(p_values.values())
    for key, adjusted in holm(p_values).items():
        last = max(j for j, p in enumerate(ordered) if p == p_values[key])
        first = min(j for j, p in enumerate(ordered) if p == p_values[key])
        bounds = [max(min(1.0, (len(ordered) - i) * ordered[i]) for i in range(j + 1)) for j in range(first, last + 1)]
        assert adjusted == pytest.approx(bounds[0])


def test_holm_leaves_out_what_could_not_be_tested() -> None:
    found = holm({"a": 0.02, "b": float("nan")})
    assert found["a"] == 0.02
    assert np.isnan(found["b"])


def test_two_replicates_are_kept_as_known_bytes():
    # range 0 … 1: offset 1/2, step 1/65534; codes -32767 = 0x8001 and 32767 = 0x7fff, low byte first: 01 80 ff 7f
    stored = encode(0.5, np.array([0.0, 1.0]))
    assert stored == {"estimate": 0.5, "scale": 1 / 65534, "offset": 0.5, "data": "AYD/fw=="}


@given(st.lists(st.floats(-50, 50) | st.just(math.nan), min_size=1, max_size=250))
def test_kept_replicates_come_back_within_half_a_step(values):
    replicates = np.array(values)
    stored = json.loads(json.dumps(encode(0.25, replicates), allow_nan=False))
    assert stored.pop("estimate") == 0.25
    found = decode(**stored)
    assert len(found) == min(200, len(values))
    known = replicates[:200][~np.isnan(replicates[:200])]
    reach = (known.max() - known.min()) / 131068 + 1e-6 if len(known) else 0
    np.testing.assert_array_equal(np.isnan(found), np.isnan(replicates[:200]))
    np.testing.assert_allclose(found[~np.isnan(found)], known, atol=reach)


def test_an_estimate_that_cannot_be_given_is_null():
    stored = encode(math.nan, np.full(3, math.nan))
    assert stored["estimate"] is None
    assert np.isnan(decode(stored["offset"], stored["scale"], stored["data"])).all()


@pytest.mark.parametrize("data", ["???", "AAAA"])  # no base64; three bytes
def test_damaged_data_are_refused(data):
    with pytest.raises(ValueError):
        decode(0.5, 0.1, data)


def test_beyond_the_resolution_p_is_the_normal_tail():
    replicates = np.random.default_rng(1).normal(0.4, 0.1, 200)
    p, beyond = difference_p(0.4, replicates, 100)
    assert beyond
    assert p == pytest.approx(2 * norm.sf(0.4 / replicates.std(ddof=1)))
    assert difference_p(-0.4, -replicates, 100)[0] == pytest.approx(p)


def test_the_tail_is_never_taken_where_it_is_the_larger_one():
    # all on one side, but spread as widely as the difference: counting says 2 / 201, the tail .3
    replicates = np.repeat([0.01, 1.99], 100)
    assert difference_p(1.0, replicates, 100) == (pytest.approx(2 / 201), False)


def test_few_items_prove_nothing():
    # 4 items: a sign test cannot go below 2 / 2^4
    assert difference_p(0.5, np.full(200, 0.5), 4)[0] == 1 / 8
    assert difference_p(0.5, np.full(200, 0.5), 1)[0] == 1.0
    assert difference_p(0.5, np.full(200, 0.5), 100)[0] == 1e-6


def test_replicates_in_which_both_are_equal_count_for_both_sides():
    # an index clipped at 0 in 40 of 200 replicates, against a system at 0; recentred, all 200 would be above 0
    replicates = np.concatenate([np.zeros(40), np.linspace(0.01, 0.1, 160)])
    assert paired_p(0.06, replicates) == pytest.approx(2 / 201)
    assert difference_p(0.06, replicates, 100) == (pytest.approx(2 * 41 / 201), False)
