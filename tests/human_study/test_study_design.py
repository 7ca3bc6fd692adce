"""Which questions a study asks, and in which order: evenly spread and balanced."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlvbench.errors import UsageError
from hlvbench.human_study.study_design import Sample, choose, sheet_units


def test_samples_are_spread_evenly_and_speak_of_other_items_first():
    eligible = {
        (t, a): [Sample(t, f"i{n}", a, n + 50 * (t == "y")) for n in range(40)] for t in "xy" for a in ("A", "B", "C")
    }
    chosen = choose(eligible, 20, 3)
    counts = Counter(s.cell for s in chosen)
    assert sorted(counts.values()) == [3, 3, 3, 3, 4, 4]
    assert len({s.block for s in chosen}) == 20
    assert chosen == choose(eligible, 20, 3)
    assert chosen != choose(eligible, 20, 4)
    with pytest.raises(UsageError, match="only 240 questions"):
        choose(eligible, 241, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.integers(0, 4))
def test_every_sheet_asks_everything_once_in_balance(count, systems, rater, repeats):
    names = [f"s{k}" for k in range(systems)]
    units = sheet_units(count, names, set(), rater, repeats, 0)
    for part in ("attribution", "rating"):
        first = [u for u in units if u.part == part and u.repeats is None]
        assert sorted((u.sample, u.systems) for u in first) == sorted((q, (s,)) for q in range(count) for s in names)
        met = Counter({u.sample: u.systems[0] for u in reversed(first)}.values())
        assert max(met.values()) - min(met[s] for s in names) <= 1
    pairs = [u for u in units if u.part == "preference" and u.repeats is None]
    assert len(pairs) == count * systems * (systems - 1) // 2
    for a in range(systems):
        for b in range(a):
            sides = Counter(u.systems for u in pairs if set(u.systems) == {names[a], names[b]})
            assert abs(sides[names[a], names[b]] - sides[names[b], names[a]]) <= 1
    for place, unit in enumerate(units):
        if unit.repeats is not None:
            before = units[unit.repeats]
            assert unit.repeats < place
            assert (unit.part, unit.sample, unit.systems[::-1]) == (before.part, before.sample, before.systems)


def test_the_parts_follow_each_other_so_that_no_example_names_the_target_before_attribution():
    parts = [u.part for u in sheet_units(5, ["s", "t"], set(), 0, 2, 0)]
    assert parts == sorted(parts, key=["attribution", "rating", "preference"].index)
