"""Metric names and signatures print, parse back, and refuse what they do not know."""

from __future__ import annotations

import typing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlvbench.errors import MetricError
from hlvbench.metrics import REGISTRY, Metric, Signature, bind, parse_metric, parse_signature, scorecard
from tests.toy import toy_task

EVERY = [m for kind in ("nominal", "ordinal") for m in scorecard(toy_task(kind))]
EVERY += [bind("lewidi_error", subset="lewidi2025", scale=11)]
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Any metric with any value of every parameter."""
    spec = draw(st.sampled_from(sorted(REGISTRY.values(), key=lambda s: s.name)))
    arguments = {}
    for name, hint in ((n, h) for n, h in spec.hints.items() if n in spec.parameters):
        if typing.get_origin(hint) is typing.Literal:
            arguments[name] = draw(st.sampled_from(typing.get_args(hint)))
        elif hint is int:
            arguments[name] = draw(st.integers(0, 10**6))
        elif hint is float:
            arguments[name] = draw(st.floats(allow_nan=False, allow_infinity=False))
        else:
            arguments[name] = draw(TEXT)
    return bind(spec.name, **arguments)


@given(metrics())
def test_a_metric_is_what_its_printed_name_parses_to(metric: Metric) -> None:
    assert parse_metric(str(metric)) == metric
    assert "|" not in str(metric)


@given(
    metrics(),
    st.integers(0, 999),
    st.integers(0, 9),
    st.integers(1, 2000),
    st.sampled_from(["test", "dev"]),
    st.none() | st.integers(1, 99),
    st.integers(1, 50),
    st.none() | st.just("12-1a2b3c4d"),
)
def test_a_signature_parses_back(
    metric: Metric, missing: int, seed: int, boot: int, split: str, limit: int | None, samples: int, only: str | None
) -> None:
    signature = Signature(metric, "varierr@1", missing, "0.1.0", seed, boot, split, limit, samples, only)
    assert parse_signature(str(signature)) == signature


def test_a_signature_reads_as_the_definitions_show_it() -> None:
    found = Signature(bind("label_accuracy", multi="priority"), "varierr@1", 3, "0.1.0")
    assert str(found) == "label_accuracy(multi=priority)|varierr@1|seed:0|boot:1000|missing:3|hlvbench:0.1.0"
    dev = replace(found, split="dev", limit=5, samples=2)
    assert "|split:dev|limit:5|samples:2|" in str(dev)


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_every_printed_metric_names_all_its_parameters(metric: Metric) -> None:
    assert [key for key, _ in metric.arguments] == list(metric.spec.parameters)
    assert parse_metric(str(metric)) == metric


def test_defaults_stand_in_the_name_and_may_be_left_out_when_asking() -> None:
    assert str(parse_metric("rouge_l")) == "rouge_l(view=raw)"
    assert parse_metric(" bertscore( layer = 5 )") == bind("bertscore", layer=5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label_acuracy", "no metric 'label_acuracy'"),
        ("rouge_l(veiw=raw)", "does not know veiw; it takes view"),
        ("label_kappa(view=raw)", "it takes no parameters"),
        ("rouge_l(view=both)", "not one of raw, norm"),
        ("rouge_l(view)", "not parameter=value"),
        ("rouge_l(view=raw,view=raw)", "stands twice"),
        ("rouge_l(view=raw", "is not a metric"),
        ("rouge_l@10", "does not know m"),
        ("bertscore(layer=six)", "not of type int"),
        ("bertscore(layer=5.7)", "not of type int"),
        ("lewidi_error(scale=nan)", "not of type float"),
        ("", "is not a metric"),
    ],
)
def test_a_wrong_metric_is_an_error_that_says_what_is_right(text: str, problem: str) -> None:
    with pytest.raises(MetricError, match=problem):
        parse_metric(text)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"layer": 5.7}, "not of type int"), ({"layer": float("inf")}, "not of type int"), ({"lyer": 5}, "lyer")],
)
def test_binding_refuses_what_parsing_refuses(arguments: dict[str, float], problem: str) -> None:
    with pytest.raises(MetricError, match=problem):
        bind("bertscore", **arguments)


@pytest.mark.parametrize(
    "text",
    [
        "label_kappa",
        "label_kappa|varierr@1|seed:0|boot:10|missing:0",
        "label_kappa|varierr@1|seed:0|boot:10|missing:0|hlvbench:1|colour:red",
        "label_kappa|varierr@1|seed:0|seed:0|boot:10|missing:0|hlvbench:1",
        "label_kappa|varierr@1|seed:zero|boot:10|missing:0|hlvbench:1",
        "label_kapa|varierr@1|seed:0|boot:10|missing:0|hlvbench:1",
    ],
)
def test_a_wrong_signature_is_an_error(text: str) -> None:
    with pytest.raises(MetricError):
        parse_signature(text)


def test_a_signature_of_release_0_1_parses_to_what_was_computed_then() -> None:
    text = "own_gain(view=norm,sim=embed,embed=x)|r2@1|seed:0|boot:10|missing:0|hlvbench:"
    assert parse_signature(text + "0.1.0").metric == bind("own_gain", within="all", embed="x")
    assert parse_signature(text + "0.2.0").metric == bind("own_gain", within="label", embed="x")


def test_a_scorecard_holds_what_its_task_can_show_and_nothing_twice() -> None:
    for kind, has, lacks in (("nominal", "macro_f1", "label_error"), ("ordinal", "label_error", "macro_f1")):
        names = [str(m) for m in scorecard(toy_task(kind))]
        assert len(names) == len(set(names))
        assert has in names
        assert lacks not in names


def test_every_metric_states_its_direction_and_a_range() -> None:
    for spec in REGISTRY.values():
        assert spec.better in {"higher", "lower", "ideal"}
        assert spec.bounds[0] < spec.bounds[1]
        assert spec.floor in {"blind", "chance", None}
        assert spec.ceiling in {"human", None}
        assert (spec.function.__doc__ or "").strip()
