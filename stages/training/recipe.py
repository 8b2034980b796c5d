"""Keras objects from the section ``train`` of ``params.yaml``: optimizer, learning-rate schedule,
loss, class weights."""

import re
from typing import Any

import keras
import numpy as np

from stages.params.schema import Train
from stages.runtime.errors import UserError
from stages.runtime.text import first_line
from stages.training.in_epochs import IN_EPOCHS, convert_to_batches

IN_BATCHES = IN_EPOCHS.values()


def build_optimizer(train: Train, batches: int) -> keras.Optimizer:
    """Build the optimizer with its learning rate: a schedule, a number, or the optimizer's default
    if the parameters leave it empty. `batches` is their number per epoch."""
    arguments = dict(train.optimizer_arguments)
    if train.schedule:
        arguments["learning_rate"] = build_schedule(train, batches)
    elif train.learning_rate is not None:
        arguments["learning_rate"] = train.learning_rate
    optimizer = build("optimizer", keras.optimizers, train.optimizer, arguments)
    # as `compile` would: float16 loses small gradients without loss scaling
    if train.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def build_variables(optimizer: keras.Optimizer, trainable: list[keras.Variable]) -> None:
    """Create the state of `optimizer` (its moments) for the `trainable` variables of a network.

    An inner optimizer is built first: within `LossScaleOptimizer.build`, Keras would not track one
    of Nadam's variables, and a checkpoint would lack it."""
    if inner := getattr(optimizer, "inner_optimizer", None):
        inner.build(trainable)
    optimizer.build(trainable)


def build_schedule(train: Train, batches: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Build the learning-rate schedule, a function of the step counted from 0."""
    arguments = {
        name: value if name in IN_BATCHES else convert_to_float(value)
        for name, value in convert_to_batches(train.schedule_arguments, batches).items()
    }
    return build("schedule", keras.optimizers.schedules, train.schedule, arguments)


def convert_to_float(value: Any) -> Any:
    """Convert an integer, or those in a list, to float. Otherwise Keras computes a schedule whose
    first rate is an integer in integers: 1 and then 0."""
    if isinstance(value, list):
        return [convert_to_float(element) for element in value]
    return float(value) if type(value) is int else value


def find_schedule_end(train: Train, batches: int) -> float | None:
    """The number of epochs after which the learning rate is constant; None if it never is, or if
    the schedule need not span the whole training."""
    arguments = convert_to_batches(train.schedule_arguments, batches)
    if "decay_steps" not in arguments:
        return None
    if train.schedule == "CosineDecay":
        warm_up = arguments.get("warmup_steps", 0) if arguments.get("warmup_target") else 0
        return (warm_up + arguments["decay_steps"]) / batches
    if train.schedule == "PolynomialDecay" and not arguments.get("cycle"):
        return arguments["decay_steps"] / batches
    return None


def read_learning_rate(train: Train, optimizer: keras.Optimizer, batches: int) -> float:
    """The learning rate of the last step that `optimizer` took, to six digits."""
    rate = optimizer.learning_rate
    if train.schedule:  # Keras evaluates it for the next step
        done = int(keras.ops.convert_to_numpy(optimizer.iterations))
        inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
        done *= inner.gradient_accumulation_steps or 1  # in batches
        rate = build_schedule(train, batches)(max(done - 1, 0))
    return shorten(float(keras.ops.convert_to_numpy(rate)))


def describe(component: keras.Optimizer | keras.Loss) -> dict[str, Any]:
    """The class and all arguments of an optimizer or a loss, Keras's defaults included."""
    return simplify({"class_name": type(component).__name__, "config": component.get_config()})


def simplify(value: Any) -> Any:
    """Strip module and object names from an object that Keras serialised, and round learning rates,
    which Keras reads from float32, to the digits that one would write."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    arguments = {
        key: shorten(item) if key == "learning_rate" and isinstance(item, float) else simplify(item)
        for key, item in value["config"].items()
        if key != "name"
    }
    return {"class": value["class_name"], **arguments}


def shorten(value: float) -> float:
    return float(f"{value:.6g}")


def build_loss(train: Train, on_logits: bool = False) -> keras.Loss:
    """Build the loss, on class probabilities, or on logits if it `has_logits_form`."""
    arguments = train.loss_arguments | ({"from_logits": True} if on_logits else {})
    return build("loss", keras.losses, train.loss, arguments)


def check_loss(train: Train, classes: int) -> None:
    """Compute the loss of one image. Raises `UserError` if that fails, as where an argument has a
    value for each class, but not for `classes` of them."""
    labels = np.zeros((1,) if takes_class_numbers(train) else (1, classes), np.float32)
    try:
        build_loss(train)(labels, np.full((1, classes), 1 / classes, np.float32))
    except UserError:
        raise
    except Exception as error:  # each backend has its own
        reason = re.sub(r"{{.*}} | \[Op:.*", "", first_line(error))  # without TensorFlow's places
        raise UserError(
            f"params.yaml: train.loss_arguments: {train.loss} with {train.loss_arguments} cannot "
            f"be computed for {classes} classes: {reason}"
        ) from None


def has_logits_form(train: Train) -> bool:
    """Whether the loss is a categorical cross-entropy, which is exact only on logits."""
    return train.loss.removeprefix("sparse_") == "categorical_crossentropy"


def name_metrics(train: Train) -> list[str]:
    """The metrics of each epoch besides the loss; the squared error needs one-hot labels."""
    return ["accuracy"] if takes_class_numbers(train) else ["accuracy", "mean_squared_error"]


def weigh_classes(train: Train, labels: np.ndarray) -> dict[int, float] | None:
    """The weight of each class in the training loss; None if all are 1. ``balanced`` gives images /
    (classes * images of the class), for `labels` int (images,)."""
    if train.class_weight == "none":
        return None
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(labels)
    return dict(
        zip(classes.tolist(), compute_class_weight("balanced", classes=classes, y=labels).tolist())
    )


def takes_class_numbers(train: Train) -> bool:
    """Whether the loss takes labels as class numbers; the others take one-hot rows."""
    return train.loss in (
        "categorical_generalized_cross_entropy",
        "sparse_categorical_crossentropy",
    )


def build(kind: str, module: Any, name: str, arguments: dict[str, Any]) -> Any:
    """Instantiate the class `name` of Keras's `module`, ignoring case and underscores; an empty
    argument means Keras's default. Raises `UserError` for a bad argument."""
    arguments = {key: value for key, value in arguments.items() if value is not None}
    classes = {key.lower(): value for key, value in vars(module).items() if isinstance(value, type)}
    try:
        return classes[name.replace("_", "").lower()](**arguments)
    except (TypeError, ValueError) as error:
        last_line = str(error).strip().splitlines()[-1]
        given = {key: value for key, value in arguments.items() if key != "learning_rate"}
        raise UserError(
            f"params.yaml: train.{kind}_arguments: {name} does not accept {given}: {last_line}"
        ) from None
