"""How far predicted annotators agree among each other as the people do, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hlvbench.bootstrap import every_item_once
from hlvbench.metrics import bind
from tests.metrics.test_decisions import answers_of, hand_task, value_of
from tests.toy import NLI

N, E, _ = NLI


def test_agreement_error_by_hand_and_blind_to_nobody() -> None:
    # three people, four items repeated five times. Ann1 N E N E against Ann2 N E E N: agreement 1/2, chance 1/2 -> κ 0;
    # Ann3 says what Ann1 says: κ 1 with Ann1, 0 with Ann2. One mind for all: κ 1 in all three pairs, off by 1, 0, 1
    people = [[[N], [N], [N]], [[E], [E], [E]], [[N], [E], [N]], [[E], [N], [E]]] * 5
    task = hand_task(people, NLI)
    one_mind = [[N, N, N], [E, E, E]] * 10
    assert value_of("agreement_error", answers_of(task, one_mind)) == pytest.approx((2 / 3) ** 0.5)
    # the label always E is full agreement, too
    assert value_of("agreement_error", answers_of(task, [[E, E, E]] * 20)) == pytest.approx((2 / 3) ** 0.5)
    assert value_of("agreement_error", answers_of(task, [[y for (y,) in row] for row in people])) == 0.0
    # twice the people (and none of a new kind) leave the mean pair where it is, to the pairs of a person with his copy
    assert value_of(
        "agreement_error", answers_of(hand_task([row + row for row in people], NLI), [r + r for r in one_mind])
    ) == (pytest.approx((8 / 15) ** 0.5))


def test_agreement_error_leaves_out_pairs_who_share_less_than_twenty_items_or_never_differ() -> None:
    # Ann1 and Ann3 share 20 items, κ of people 0 as above; Ann2 shares 19 with both; Ann4 and Ann5 say N throughout
    people = [
        [[N], [N], [N], [N], [N]],
        [[E], [N], [E], [N], [N]],
        [[N], [E], [E], [N], [N]],
        [[E], [E], [N], [N], [N]],
    ]
    rows = [*people * 4, *people[:3], [[E], [], [N], [N], [N]]]
    predicted = [[N, N, N, E, N], [E, E, E, N, N]] * 10
    found = bind("agreement_error")(answers_of(hand_task(rows, NLI), predicted), every_item_once(20))
    # pairs 1-3: people 0, predicted 1; 1-4 and 3-4: people 0 (one of them constant), predicted -1; 1-5 and 3-5: 0
    # and 0; 4-5 never differ among people
    assert found.overall[0] == pytest.approx((3 / 5) ** 0.5)
    alone = bind("agreement_error")(answers_of(hand_task(rows[:19], NLI), predicted[:19]), every_item_once(19))
    assert np.isnan(alone.overall[0])
    assert alone.note == "no two annotators share 20 items and differ there"
