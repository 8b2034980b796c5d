"""Temperature scaling: the temperature itself, and its use in the saved network."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from support.example import load_example
from support.project import write_prepared

from stages.metrics.measures import measure_model
from stages.metrics.scores import measure_loss
from stages.params.families import Dense
from stages.storage.prepared import Prepared
from stages.training import backend, run
from stages.training.experiment import Experiment

OPTIONS = load_example()
CLASSES, SIDE = 3, 6
backend.start(OPTIONS.train.threads)

from stages.training import calibration  # noqa: E402

pytestmark = pytest.mark.usefixtures("step_by_step")


def test_the_temperature_of_an_overconfident_network_is_found():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, CLASSES))
    draws = random.uniform(size=(len(logits), 1)) < softmax(logits, axis=1).cumsum(axis=1)
    labels = draws.argmax(axis=1)
    overconfident = softmax(2.5 * logits, axis=1).astype(np.float32)
    assert calibration.fit_temperature(overconfident[None], labels) == pytest.approx(2.5, rel=0.05)


def test_a_few_images_that_are_all_right_do_not_make_a_network_certain():
    labels = np.arange(20) % CLASSES
    right = np.full((20, CLASSES), 0.1) + 0.7 * np.eye(CLASSES)[labels]
    assert 0.4 < calibration.fit_temperature(right[None], labels) < 1


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Noisy images, a third of them with random labels: a network that memorises them becomes
    overconfident."""
    random, parts = np.random.default_rng(3), {}
    for part, count in (("train", 60), ("validation", 90), ("test", 90)):
        labels = random.integers(0, CLASSES, count)
        images = random.integers(0, 100, (count, SIDE, SIDE, 1)) + 50 * labels[:, None, None, None]
        wrong = random.uniform(size=count) < 1 / 3
        labels[wrong] = random.integers(0, CLASSES, wrong.sum())
        parts[part] = images.astype(np.uint8), labels
    return write_prepared(tmp_path / "prepared", parts, CLASSES)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_saved_network_is_calibrated_and_metrics_include_the_uncalibrated_loss(
    prepared: Prepared, tmp_path: Path, mirrored: bool
):
    network = Dense(
        family="dense",
        units=[32],
        activation="relu",
        batch_norm="none",
        dropout=0.0,
        average_mirrored=mirrored,
    )
    recipe = OPTIONS.train.model_copy(
        update={
            "epochs": 25,
            "learning_rate": 0.02,
            "calibration": "temperature",
            "early_stopping": OPTIONS.train.early_stopping.model_copy(
                update={"patience": None, "restore_best": "never"}
            ),
        }
    )
    experiment = Experiment("flatten", 1, network, OPTIONS.augment, recipe)
    run.run(experiment, prepared, tmp_path, tmp_path / "checkpoint.npz")
    result, _, probabilities = measure_model("flatten", tmp_path, prepared, OPTIONS.evaluate)
    before = result["uncalibrated"]
    assert result["validation"]["loss"] < before["validation"]["loss"]
    assert set(before) == {"temperature", "validation", "test"}
    for part in ("validation", "test"):
        loss = measure_loss(probabilities[f"uncalibrated_{part}"], prepared.labels(part))
        assert before[part]["loss"] == pytest.approx(loss, abs=1e-6)
    classes = [probabilities[name].argmax(axis=1) for name in ("test", "uncalibrated_test")]
    assert np.mean(classes[0] == classes[1]) > 0.98  # averaging two images may change it
    if not mirrored:  # the logits were divided
        scaled = np.log(probabilities["uncalibrated_test"]) / before["temperature"]
        np.testing.assert_allclose(probabilities["test"], softmax(scaled, axis=1), atol=1e-5)
