"""Agreement of raters: published values and hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.metrics.krippendorff import krippendorff_alpha, raw_agreement

# Krippendorff 2011, example C: four observers, twelve units, a scale of five
PUBLISHED = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]
CODES = np.array([[-1 if v == "." else int(v) - 1 for v in row.split()] for row in PUBLISHED]).T


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_the_published_one(level, value):
    assert krippendorff_alpha(CODES, level)[0] == pytest.approx(value, abs=0.0005)


def test_alpha_of_two_raters_by_hand():
    # values 0 0 | 0 1 | 1 1: o_00 = 2, o_01 = o_10 = 1, o_11 = 2; n_0 = n_1 = 3, n = 6
    # observed 2 · (6 - 1) = 10, expected 2 · 3 · 3 = 18: 1 - 10/18
    codes = np.array([[0, 0], [0, 1], [1, 1]])
    assert krippendorff_alpha(codes)[0] == pytest.approx(1 - 10 / 18)


def test_a_unit_weighed_twice_is_a_unit_that_stands_twice():
    codes = np.array([[0, 0, 1], [2, 1, -1], [1, 1, 1]])
    for level in ("nominal", "ordinal", "interval"):
        weighed = krippendorff_alpha(codes, level, np.array([[1.0, 2.0, 1.0]]))
        assert weighed[0] == pytest.approx(krippendorff_alpha(codes[[0, 1, 1, 2]], level)[0])


def test_nothing_to_disagree_about_has_no_alpha():
    assert np.isnan(krippendorff_alpha(np.zeros((4, 2), dtype=int))[0])
    assert np.isnan(krippendorff_alpha(np.array([[0, -1], [-1, 1]]))[0])
    assert np.isnan(krippendorff_alpha(np.zeros((0, 2), dtype=int))[0])


def test_raw_agreement_counts_every_pair_of_values_once():
    # unit 1: three raters, pairs (0,0) (0,2) (0,2): 1 of 3; unit 2: one pair, one apart; unit 3: a lone value
    codes = np.array([[0, 0, 2], [1, 2, -1], [1, -1, -1]])
    assert raw_agreement(codes)[0] == pytest.approx(1 / 4)
    assert raw_agreement(codes, within=1)[0] == pytest.approx(2 / 4)
    assert raw_agreement(codes, np.array([[0.0, 1.0, 5.0]]), within=1)[0] == pytest.approx(1.0)
    assert np.isnan(raw_agreement(codes, np.array([[0.0, 0.0, 1.0]]))[0])


@given(
    st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=8), st.permutations(range(3))
)
def test_who_is_called_first_does_not_matter_and_full_agreement_is_one(rows, order):
    codes = np.array(rows)
    for level in ("nominal", "ordinal", "interval"):
        mine, theirs = krippendorff_alpha(codes, level)[0], krippendorff_alpha(codes[:, order], level)[0]
        assert np.isnan(mine) == np.isnan(theirs)
        assert np.isnan(mine) or (mine == pytest.approx(theirs) and mine <= 1 + 1e-12)
    agreed = np.repeat(codes[:, :1], 3, axis=1)
    alpha = krippendorff_alpha(agreed, "ordinal")[0]
    assert np.isnan(alpha) or alpha == pytest.approx(1.0)
