"""The statistics behind the verdicts, checked by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest

from commands.reviewing import noise


def predictions(right: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"actual": "a", "predicted": np.where(right, "a", "b")})


def test_the_noise_equals_a_value_worked_out_by_hand():
    old, new = np.ones(100, dtype=bool), np.ones(100, dtype=bool)
    old[:10], new[10:13] = False, False  # ten right only in new, three only in old
    spread = noise.Spread({"net": 0.01**2}, 8, "net")
    result = noise.measure(predictions(old), predictions(new), (spread, spread))
    assert result.difference == pytest.approx(0.07)
    assert (result.only_old, result.only_new) == (3, 10)
    of_test_set = (13 - 49 / 100) / 100**2
    assert result.noise == pytest.approx(np.sqrt(2 * 0.01**2 + of_test_set))
    assert result.freedom == pytest.approx(result.noise**4 / ((2 * 0.01**2) ** 2 / 8))
    # of 13 tosses of a coin, at most three heads or at most three tails
    assert result.mcnemar == pytest.approx(2 * (1 + 13 + 78 + 286) / 2**13)


def test_an_assumed_spread_follows_the_standard_error():
    right = np.arange(998) < 499
    spread = noise.assume_spread(predictions(right))
    assert spread.sd == pytest.approx(1.5 * np.sqrt(0.25 / 998)) and spread.of is None
    assert noise.assume_spread(predictions(np.ones(100, dtype=bool))).sd > 0


def test_an_assumption_for_both_sides_is_one_estimate():
    right = [np.arange(4000) < count for count in (3400, 3490)]
    tables = [predictions(answers) for answers in right]
    spreads = tuple(noise.assume_spread(table) for table in tables)
    assert spreads[0].sd != spreads[1].sd
    of_seeds = spreads[0].sd ** 2 + spreads[1].sd ** 2
    result = noise.measure(*tables, spreads)
    assert result.freedom == pytest.approx(result.noise**4 / (of_seeds**2 / 4))


def test_spreads_that_rest_on_the_same_measurements_are_not_independent():
    measured = {
        name: {"test_accuracy": {"sd": sd}} for name, sd in {"a": 0.003, "b": 0.004}.items()
    }
    spreads = tuple(noise.find_spread(name, {}, {"n": 3, "models": measured}) for name in measured)
    result = noise.combine(0, 0, 4000, spreads)
    assert result.noise == pytest.approx(0.005)  # together, one of each variance
    assert result.freedom == pytest.approx(0.005**4 / ((0.003**4 + 0.004**4) / 2))


def test_a_model_without_a_spread_takes_its_nearest_siblings():
    models = {
        "dense": {"family": "dense", "parameters": 1000, "test_accuracy": {"sd": 0.001}},
        "small": {"family": "cnn", "parameters": 100, "test_accuracy": {"sd": 0.002}},
        "large": {"family": "cnn", "parameters": 10000, "test_accuracy": {"sd": 0.003}},
    }
    training = {"architecture": {"family": "cnn"}, "parameters": {"total": 1500}}
    spread = noise.find_spread("new", training, {"n": 5, "models": models})
    assert spread.of == "large" and spread.freedom == 4  # 7 times as large; the small one 15 times
    assert spread.sd**2 == pytest.approx((0.003**2 + (0.001**2 + 0.002**2 + 0.003**2) / 3) / 2)
    assert spread.parts["dense"] == pytest.approx(0.001**2 / 6)
    assert noise.find_spread("small", training, {"n": 5, "models": models}).of == "small"


def simulated(
    changed: float, trained: int, generator: np.random.Generator, unequal: float = 1
) -> list[str]:
    """The verdicts of a review of `trained` models that truly differ by `changed` times the noise.
    Five seeds measured the spread of six models; the first has `unequal` times the spread of the
    others. 8 % of the 4,000 images are right in one of the two networks alone; half the variance
    that this causes is part of each measured spread."""
    of_test_set = 0.08 / 4000
    sds = [np.sqrt((0.005 * factor) ** 2 + of_test_set / 2) for factor in [unequal] + [1] * 5]
    measured = {
        str(number): {"test_accuracy": {"sd": generator.normal(0, sd, 5).std(ddof=1)}}
        for number, sd in enumerate(sds)
    }
    differences = []
    for model, sd in list(zip(measured, sds))[:trained]:
        spread = noise.find_spread(model, {}, {"n": 5, "models": measured})
        noise_now, of_seed = np.sqrt(2 * sd**2 + of_test_set), np.sqrt(2 * sd**2 - of_test_set)
        true = generator.normal(changed * noise_now, of_seed)
        only = np.clip([0.04 - true / 2, 0.04 + true / 2], 0, 1)
        only_old, only_new, _ = generator.multinomial(4000, [*only, 1 - sum(only)])
        differences.append(noise.combine(only_old, only_new, 4000, (spread, spread)))
    return [words for words, _ in noise.judge(differences, 0.1)]


def false_alarms(trained: int, generator: np.random.Generator, unequal: float = 1) -> float:
    """The share of reviews that find a difference where there is none."""
    verdicts = [simulated(0, trained, generator, unequal) for _ in range(1000)]
    return float(np.mean([set(words) != {noise.CHANCE} for words in verdicts]))


@pytest.mark.parametrize("trained", [1, 6])
def test_false_alarms_are_rare_and_a_change_of_three_times_the_noise_is_found(trained: int):
    generator = np.random.default_rng(0)
    assert false_alarms(trained, generator) <= 0.1
    reviews = [simulated(3, trained, generator) for _ in range(1000)]
    assert np.mean([words == noise.BETTER for review in reviews for words in review]) >= 0.85


@pytest.mark.parametrize(("trained", "most"), [(1, 0.2), (6, 0.1)])
def test_false_alarms_stay_bounded_where_one_model_has_twice_the_spread(trained: int, most: float):
    assert false_alarms(trained, np.random.default_rng(0), unequal=2) <= most
