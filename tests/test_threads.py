"""Work shared out to threads: the results in order, and no more items in memory than threads."""

import warnings
from collections.abc import Iterator

import pytest

from stages.runtime import threads


def fail_at_five(number: int) -> int:
    if number == 5:
        raise ValueError(number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 10 * number


def test_results_come_in_order_an_error_in_its_turn_and_few_items_are_taken_ahead(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(threads, "count_threads", lambda: 3)
    taken, filters = [], [*warnings.filters]

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = threads.map_in_order(fail_at_five, items())
    for number in range(5):
        assert next(results) == 10 * number
        assert len(taken) <= number + 3
    with pytest.raises(ValueError, match="5"):
        next(results)
    assert len(taken) < 10 and warnings.filters == filters


def test_a_loop_that_ends_early_takes_no_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "count_threads", lambda: 2)
    taken = []
    results = threads.map_in_order(taken.append, iter(range(100)))
    next(results)
    results.close()
    assert len(taken) <= 2
