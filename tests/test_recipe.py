"""The recipe as it takes effect: the learning rate of each epoch, and what Keras fills in."""

from typing import Any

import pytest
from support.project import ROOT

from stages import params
from stages.training import backend

TRAIN = params.load(ROOT / "params.yaml").train
backend.start(TRAIN.threads)

import keras  # noqa: E402

from stages.training import recipe  # noqa: E402

STEPS = 3
HALVED = {"boundaries": [STEPS - 1], "values": [0.5, 0.25]}  # from the step behind the last one


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adam"}, 0.001),
        ({"optimizer": "sgd"}, 0.01),
        ({"optimizer": "adam", "precision": "mixed_float16"}, 0.001),
        ({"learning_rate": 3e-05}, 3e-05),
        ({"schedule": "PiecewiseConstantDecay", "schedule_arguments": HALVED}, 0.5),
    ],
)
def test_the_learning_rate_of_the_last_step(changes: dict[str, Any], expected: float):
    train = TRAIN.model_copy(update=changes)
    optimizer = recipe.build_optimizer(train)
    weights = keras.Variable([1.0])
    optimizer.build([weights])
    for _ in range(STEPS):
        optimizer.apply([keras.ops.ones(1)], [weights])
    assert recipe.read_learning_rate(train, optimizer) == expected


def test_what_keras_fills_in_is_described():
    sgd = recipe.describe(recipe.build_optimizer(TRAIN.model_copy(update={"optimizer": "sgd"})))
    assert (sgd["class"], sgd["learning_rate"], sgd["momentum"]) == ("SGD", 0.01, 0.0)
    scaled = TRAIN.model_copy(
        update={
            "precision": "mixed_float16",
            "schedule": "CosineDecay",
            "schedule_arguments": {"initial_learning_rate": 0.1, "decay_steps": 9},
        }
    )
    inner = recipe.describe(recipe.build_optimizer(scaled))["inner_optimizer"]
    assert inner["class"] == "Adam" and inner["beta_1"] == 0.9
    assert inner["learning_rate"]["class"] == "CosineDecay"
    assert inner["learning_rate"]["initial_learning_rate"] == 0.1
    assert recipe.describe(recipe.build_loss(TRAIN))["from_logits"] is False
