"""Metrics and selection against values worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from stages.compare import select
from stages.metrics import diagnostics, scores
from stages.metrics.measures import (
    measure,
    measure_calibration_error,
)
from stages.metrics.tabulation import tabulate_classes, tabulate_curves
from stages.storage import files
from stages.storage.tables import read_table

# four images of three classes; the third is mistaken for class 0
LABELS = np.array([0, 1, 2, 2])
PROBABILITIES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.1, 0.3], [0.0, 0.1, 0.9]])


def test_metrics_equal_values_worked_out_by_hand():
    values = measure(PROBABILITIES, LABELS, top_k=2, bins=10)
    assert values["accuracy"] == 0.75
    assert values["standard_error"] == pytest.approx(np.sqrt(0.75 * 0.25 / 4), abs=1e-6)
    assert values["top_2_accuracy"] == 1.0
    assert values["loss"] == pytest.approx(-np.log([0.8, 0.7, 0.3, 0.9]).mean(), abs=1e-6)
    squares = (0.04 + 0.01 + 0.01) + (0.04 + 0.09 + 0.01) + (0.36 + 0.01 + 0.49) + (0 + 0.01 + 0.01)
    assert values["mean_squared_error"] == pytest.approx(squares / 12, abs=1e-6)
    assert values["macro_precision"] == pytest.approx((1 / 2 + 1 + 1) / 3, abs=1e-6)
    assert values["macro_recall"] == pytest.approx((1 + 1 + 1 / 2) / 3, abs=1e-6)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3, abs=1e-6)
    assert values["micro_precision"] == values["micro_recall"] == values["micro_f1"] == 0.75
    by_chance = (1 * 2 + 1 * 1 + 2 * 1) / 16
    assert values["cohen_kappa"] == pytest.approx((0.75 - by_chance) / (1 - by_chance), abs=1e-6)
    # each confidence in a bin of its own: |0.8-1|, |0.7-1|, |0.6-0|, |0.9-1|
    assert values["expected_calibration_error"] == pytest.approx(
        (0.2 + 0.3 + 0.6 + 0.1) / 4, abs=1e-6
    )


@pytest.mark.parametrize("digits", [7, 1])  # 1: with many equal probabilities
def test_metrics_equal_those_of_scikit_learn(monkeypatch, digits: int):
    monkeypatch.setattr(scores, "VALUES", 100)  # so that the 3,500 are read in pieces
    random = np.random.default_rng(0)
    labels = np.concatenate([np.arange(7), random.integers(0, 7, 493)])
    probabilities = random.dirichlet(np.ones(7), 500).astype(np.float32)
    probabilities = np.round(probabilities, digits) + np.float32(1e-3)
    values = measure(probabilities, labels, top_k=3, bins=10)
    in_double, one_hot = probabilities.astype(float), np.eye(7)[labels]
    expected = {
        "top_3_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=3),
        "loss": metrics.log_loss(labels, in_double / in_double.sum(axis=1, keepdims=True)),
        "mean_squared_error": np.mean((in_double - one_hot) ** 2),
        "cohen_kappa": metrics.cohen_kappa_score(labels, probabilities.argmax(axis=1)),
        "macro_auc": metrics.roc_auc_score(one_hot, probabilities, average="macro"),
        "micro_auc": metrics.roc_auc_score(one_hot, probabilities, average="micro"),
    }
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-6), name
    rates = np.linspace(0.001, 1, 50)
    expected_curve = metrics.roc_curve(one_hot.ravel(), probabilities.ravel())[:2]
    curve = diagnostics.compute_micro_curve(probabilities, labels)
    assert np.interp(rates, *curve) == pytest.approx(np.interp(rates, *expected_curve))
    curves = diagnostics.compute_curves(probabilities, labels)
    drawn = set(diagnostics.tabulate_roc(curves, list("abcdefg"))["curve"])
    areas = metrics.roc_auc_score(one_hot, probabilities, average=None)
    assert drawn == {"micro", "macro", *(f"class {'abcdefg'[k]}" for k in areas.argsort()[:3])}


def test_the_interval_of_an_accuracy_is_wilsons():
    """Its ends are the accuracies that lie 1.96 of their own standard errors from 0.29."""
    for end in scores.estimate_interval(0.29, 100):
        error = scores.estimate_standard_error(end, 100)
        assert abs(end - 0.29) / error == pytest.approx(1.95996, abs=1e-4)


def test_calibration_error_averages_inside_a_bin():
    confidence, correct = np.array([0.72, 0.78, 1.0]), np.array([True, False, True])
    # the first two share a bin: accuracy 0.5, mean confidence 0.75; the third is sure and right
    assert measure_calibration_error(confidence, correct, bins=10) == pytest.approx(
        (2 * 0.25 + 0) / 3
    )
    table = diagnostics.tabulate_calibration(confidence, correct, bins=10)
    assert table[["lower", "upper"]].values.tolist() == [[0.7, 0.8], [0.9, 1.0]]


def test_top_k_accuracy_is_left_out_where_k_is_the_number_of_classes():
    assert not any(
        name.startswith("top") for name in measure(PROBABILITIES, LABELS, top_k=3, bins=10)
    )


def test_a_class_without_images_does_not_break_the_table():
    table = tabulate_classes(
        np.array([0, 0]), np.array([0, 0]), ["a", "b"], np.array([np.nan, np.nan])
    )
    assert table.set_index("class").loc["b"].fillna(0).tolist() == [0, 0, 0, 0, 0]


TABLE = pd.DataFrame(
    {
        "model": ["large", "middle", "small"],
        "parameters": [300, 200, 100],
        "validation_accuracy": [0.90, 0.895, 0.88],
        "validation_images": [900, 900, 900],
        "test_accuracy": [0.1, 0.2, 0.99],  # must not count
    }
)


@pytest.mark.parametrize(
    ("rule", "within", "selected"),
    [
        ("fewest_parameters", 1.0, "middle"),
        ("fewest_parameters", 2.1, "small"),
        ("fewest_parameters", 0.0, "large"),
        ("best_validation_accuracy", 2.1, "large"),
    ],
)
def test_the_selection_follows_its_rule(rule: str, within: float, selected: str):
    assert select(TABLE, rule, within)["selected"] == selected


def test_among_models_of_equal_size_the_more_accurate_is_selected():
    table = TABLE.assign(parameters=[300, 100, 100], validation_accuracy=[0.9, 0.897, 0.899])
    assert select(table, "fewest_parameters", 1.0)["selected"] == "small"


def test_a_smaller_model_is_selected_where_the_best_makes_no_mistake():
    table = TABLE.assign(validation_accuracy=[1.0, 0.975, 0.9], validation_images=40)
    assert select(table, "fewest_parameters", 1.0)["selected"] == "middle"


def test_names_in_a_table_are_read_back_unchanged(tmp_path: Path):
    names = ["007", "nan", "null", "1e3", ""]
    table = pd.DataFrame({"model": names, "accuracy": [0.5, np.nan, 0.25, 1.0, 0.0]})
    files.write_csv(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table)


def test_the_curves_of_both_parts_have_each_epochs_learning_rate():
    figures = {"accuracy": [0.5, 0.6], "val_accuracy": [0.3, 0.4]}
    history = pd.DataFrame(figures, index=pd.RangeIndex(1, 3, name="epoch"))
    assert "learning_rate" not in tabulate_curves(history, "old")  # from before it was recorded
    table = tabulate_curves(history.assign(learning_rate=[0.1, 0.05]), "new")
    assert table["accuracy"].tolist() == [0.5, 0.6, 0.3, 0.4]
    assert table["learning_rate"].tolist() == [0.1, 0.05, 0.1, 0.05]
