"""Nominal 95 % intervals hold the truth as often as docs/metrics.md section 10 asks: 91 to 98 % of 400 simulations."""

import pytest

from benchmarks.coverage import CALIBRATED, metrics, study


@pytest.mark.slow
def test_intervals_of_the_calibrated_metrics_cover_the_truth():
    chosen = [m for m in metrics() if m.short in CALIBRATED]
    assert {m.short for m in chosen} == set(CALIBRATED)
    found = study(chosen, simulations=400, replicates=200, items=100)
    outside = {name: c.share for name, c in found.items() if not 0.91 <= c.share <= 0.98}
    assert not outside
