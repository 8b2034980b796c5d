"""The three verdicts of `make verify`."""

import pytest

from commands.verify import differences, verdict
from stages.runtime.errors import UserError

METRICS = {"net": {"test_accuracy": 0.90, "test_loss": 0.3}}


def test_equal_bits():
    assert verdict({"a": "1"}, {"a": "1"}, [], differences(METRICS, METRICS), 0.01).startswith(
        "equal bits"
    )


def test_another_platform_inside_the_tolerance():
    near = {"net": {"test_accuracy": 0.905, "test_loss": 0.5}}
    assert verdict({"a": "1"}, {"a": "2"}, [], differences(METRICS, near), 0.01).startswith(
        "within tolerance"
    )


def test_a_committed_report_that_the_run_does_not_give():
    said = verdict(
        {"a": "1"}, {"a": "1"}, ["reports/metrics.json"], differences(METRICS, METRICS), 0.01
    )
    assert said.startswith("within tolerance") and "reports/metrics.json" in said


@pytest.mark.parametrize("obtained", [{"net": {"test_accuracy": 0.88, "test_loss": 0.3}}, {}])
def test_not_re_created(obtained: dict):
    with pytest.raises(UserError, match="net.test_accuracy"):
        verdict({"a": "1"}, {"a": "2"}, [], differences(METRICS, obtained), 0.01)
