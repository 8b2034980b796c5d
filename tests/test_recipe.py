"""The recipe in effect: learning rates, and the defaults that Keras fills in."""

from typing import Any

import pytest
from support.example import load_example

from stages.runtime.errors import UserError
from stages.training import backend

TRAIN = load_example().train
backend.start(TRAIN.threads)

import keras  # noqa: E402

from stages.training import recipe  # noqa: E402

STEPS = 3
HALVED = {"boundaries": [STEPS - 1], "values": [0.5, 0.25]}  # from the step after the last one
ACCUMULATED = {  # an update in two steps: the second one halves the rate
    "optimizer_arguments": {"gradient_accumulation_steps": 2},
    "schedule": "PiecewiseConstantDecay",
    "schedule_arguments": {"boundaries": [0], "values": [0.5, 0.25]},
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adam"}, 0.001),
        ({"optimizer": "sgd"}, 0.01),
        ({"optimizer": "adam", "precision": "mixed_float16"}, 0.001),
        ({"learning_rate": 3e-05}, 3e-05),
        ({"schedule": "PiecewiseConstantDecay", "schedule_arguments": HALVED}, 0.5),
        (ACCUMULATED, 0.25),
        (ACCUMULATED | {"precision": "mixed_float16"}, 0.25),
    ],
)
def test_the_learning_rate_is_that_of_the_last_step(changes: dict[str, Any], expected: float):
    train = TRAIN.model_copy(update=changes)
    optimizer = recipe.build_optimizer(train, STEPS)
    weights = keras.Variable([1.0])
    optimizer.build([weights])
    for _ in range(STEPS):
        optimizer.apply([keras.ops.ones(1)], [weights])
    assert recipe.read_learning_rate(train, optimizer, STEPS) == expected


def test_a_schedule_in_epochs_equals_one_in_batches():
    def rates(train, steps: int = 40) -> list[float]:
        return [float(recipe.build_schedule(train, batches=10)(step)) for step in range(steps)]

    def scheduled(name: str, **arguments: Any):
        return TRAIN.model_copy(update={"schedule": name, "schedule_arguments": arguments})

    fixed = {"initial_learning_rate": 0.0, "warmup_target": 0.1}
    in_epochs = scheduled("CosineDecay", **fixed, warmup_epochs=0.5, decay_epochs=3)
    in_batches = scheduled("CosineDecay", **fixed, warmup_steps=5, decay_steps=30)
    assert rates(in_epochs) == rates(in_batches)
    assert recipe.find_schedule_end(in_epochs, 10) == 3.5
    values = [0.3, 0.2, 0.1]
    in_epochs = scheduled("PiecewiseConstantDecay", boundary_epochs=[1, 2.5], values=values)
    expected = [0.3] * 10 + [0.2] * 15 + [0.1] * 15
    assert rates(in_epochs) == pytest.approx(expected)
    assert recipe.find_schedule_end(in_epochs, 10) is None


def test_an_empty_argument_of_a_schedule_is_left_to_keras():
    arguments = {"initial_learning_rate": 0.1, "decay_epochs": 2, "alpha": None}
    empty = TRAIN.model_copy(
        update={"schedule": "CosineDecay", "schedule_arguments": arguments | {"warmup_steps": None}}
    )
    assert recipe.build_schedule(empty, batches=10).get_config()["alpha"] == 0.0
    assert recipe.find_schedule_end(empty, 10) == 2
    arguments["decay_epochs"] = None
    assert (
        recipe.find_schedule_end(empty.model_copy(update={"schedule_arguments": arguments}), 10)
        is None
    )


def test_a_warm_up_without_a_target_is_refused():
    arguments = {"initial_learning_rate": 0.1, "decay_epochs": 2, "warmup_epochs": 1}
    changes = {"learning_rate": None, "schedule": "CosineDecay", "schedule_arguments": arguments}
    with pytest.raises(ValueError, match="warmup_target"):
        type(TRAIN).model_validate(TRAIN.model_dump() | changes)
    arguments["warmup_target"] = 0.2
    type(TRAIN).model_validate(TRAIN.model_dump() | changes)


@pytest.mark.parametrize("boundaries", [[2, 1], []])
@pytest.mark.parametrize("key", ["boundary_epochs", "boundaries"])
def test_boundaries_that_keras_would_misread_are_refused(key: str, boundaries: list[int]):
    def scheduled(boundaries: list[int]):
        arguments = {key: boundaries, "values": [0.3, 0.2, 0.1][: len(boundaries) + 1]}
        changes = {"schedule": "PiecewiseConstantDecay", "schedule_arguments": arguments}
        return type(TRAIN).model_validate(TRAIN.model_dump() | {"learning_rate": None} | changes)

    with pytest.raises(ValueError, match=f"{key}.*ascending"):
        scheduled(boundaries)
    scheduled([1, 2])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialDecay", {"initial_learning_rate": 1, "decay_steps": 10, "decay_rate": 0.9}),
        ("CosineDecay", {"initial_learning_rate": 0, "decay_steps": 9, "warmup_target": 0.1}),
        ("PiecewiseConstantDecay", {"boundaries": [10], "values": [1, 0.1]}),
    ],
)
def test_a_rate_given_as_a_whole_number_is_taken_as_a_float(name: str, arguments: dict[str, Any]):
    def rates(arguments: dict[str, Any]) -> list[float]:
        update = {"schedule": name, "schedule_arguments": arguments}
        schedule = recipe.build_schedule(TRAIN.model_copy(update=update), batches=10)
        return [float(schedule(step)) for step in range(0, 20, 4)]

    first = "initial_learning_rate"
    as_float = {first: float(arguments[first])} if first in arguments else {"values": [1.0, 0.1]}
    assert rates(arguments) == rates(arguments | as_float)


def test_an_empty_argument_is_the_default():
    adam = TRAIN.model_copy(update={"optimizer_arguments": {"beta_1": None, "epsilon": None}})
    assert recipe.build_optimizer(adam, STEPS).get_config()["beta_1"] == 0.9


def test_a_refused_argument_is_shown_without_the_schedule():
    update = {
        "optimizer_arguments": {"clipnorm": 1.0, "clipvalue": 1.0},
        "schedule": "ExponentialDecay",
        "schedule_arguments": {"initial_learning_rate": 1.0, "decay_steps": 9, "decay_rate": 0.9},
    }
    with pytest.raises(UserError, match=r"\{'clipnorm': 1.0, 'clipvalue': 1.0\}"):
        recipe.build_optimizer(TRAIN.model_copy(update=update), STEPS)


def test_nadams_product_is_among_the_variables_under_a_loss_scale():
    nadam = TRAIN.model_copy(update={"optimizer": "nadam", "precision": "mixed_float16"})
    optimizer, weights = recipe.build_optimizer(nadam, STEPS), keras.Variable([1.0])
    recipe.build_variables(optimizer, [weights])
    before = [float(keras.ops.sum(variable)) for variable in optimizer.variables]
    optimizer.apply([keras.ops.ones(1)], [weights])
    product = optimizer.inner_optimizer._u_product
    assert any(variable is product for variable in optimizer.variables)
    assert float(product) not in before


def test_a_loss_that_cannot_be_computed_for_the_classes_is_refused():
    arguments = {"alpha": [0.2, 0.3, 0.5]}  # a value for each class
    focal = {"loss": "categorical_focal_crossentropy", "loss_arguments": arguments}
    train = TRAIN.model_copy(update=focal)
    recipe.check_loss(train, 3)
    recipe.check_loss(TRAIN, 10)
    with pytest.raises(UserError, match=r"loss_arguments.*\[0\.2, 0\.3, 0\.5\].* 10 classes"):
        recipe.check_loss(train, 10)


def test_what_keras_fills_in_is_described():
    sgd = recipe.describe(
        recipe.build_optimizer(TRAIN.model_copy(update={"optimizer": "sgd"}), STEPS)
    )
    assert (sgd["class"], sgd["learning_rate"], sgd["momentum"]) == ("SGD", 0.01, 0.0)
    scaled = TRAIN.model_copy(
        update={
            "precision": "mixed_float16",
            "schedule": "CosineDecay",
            "schedule_arguments": {"initial_learning_rate": 0.1, "decay_steps": 9},
        }
    )
    inner = recipe.describe(recipe.build_optimizer(scaled, STEPS))["inner_optimizer"]
    assert inner["class"] == "Adam" and inner["beta_1"] == 0.9
    assert inner["learning_rate"]["class"] == "CosineDecay"
    assert inner["learning_rate"]["initial_learning_rate"] == 0.1
    assert recipe.describe(recipe.build_loss(TRAIN))["from_logits"] is False
