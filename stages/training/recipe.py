"""The Keras objects that the section ``train`` of ``params.yaml`` names: optimizer, schedule, loss,
class weights."""

from typing import Any

import keras
import numpy as np

from stages.params.schema import Train
from stages.runtime.errors import UserError
from stages.training.in_epochs import IN_EPOCHS, count_in_batches

IN_BATCHES = IN_EPOCHS.values()


def build_optimizer(train: Train, batches: int) -> keras.Optimizer:
    """The optimizer, with its learning rate: a number, a schedule, or its own default where the
    parameters leave it empty. An epoch has so many `batches`."""
    # empty in params.yaml: Keras's default
    arguments = {
        name: value for name, value in train.optimizer_arguments.items() if value is not None
    }
    if train.schedule:
        arguments["learning_rate"] = build_schedule(train, batches)
    elif train.learning_rate is not None:
        arguments["learning_rate"] = train.learning_rate
    chosen = build("optimizer", keras.optimizers, train.optimizer, arguments)
    # as `compile` would: small gradients are lost in float16 otherwise
    if train.precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(chosen)
    return chosen


def build_variables(optimizer: keras.Optimizer, of: list[keras.Variable]) -> None:
    """Create what `optimizer` gathers while it changes the variables `of` a network. Inside
    `LossScaleOptimizer.build` Keras would lose track of one of Nadam's, and so would a
    checkpoint."""
    if inner := getattr(optimizer, "inner_optimizer", None):
        inner.build(of)
    optimizer.build(of)


def build_schedule(train: Train, batches: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule of the learning rate, by the number of the step, counted from 0."""
    counted = count_in_batches(train.schedule_arguments, batches)
    arguments = {
        name: value if name in IN_BATCHES else in_floats(value) for name, value in counted.items()
    }
    return build("schedule", keras.optimizers.schedules, train.schedule, arguments)


def in_floats(value: Any) -> Any:
    """A number, or a list of numbers, as floats: Keras computes a schedule in whole numbers where
    its first rate is one, so that it would be 1 and then 0."""
    if isinstance(value, list):
        return [in_floats(one) for one in value]
    return float(value) if type(value) is int else value


def find_schedule_end(train: Train, batches: int) -> float | None:
    """After how many epochs the learning rate stays as it is; None where it never does, or where
    nothing says that it should change until the last epoch."""
    arguments = count_in_batches(train.schedule_arguments, batches)
    if train.schedule == "CosineDecay":
        warm_up = arguments.get("warmup_steps", 0) if arguments.get("warmup_target") else 0
        return (warm_up + arguments["decay_steps"]) / batches
    if train.schedule == "PolynomialDecay" and not arguments.get("cycle"):
        return arguments["decay_steps"] / batches
    return None


def read_learning_rate(train: Train, optimizer: keras.Optimizer, batches: int) -> float:
    """The learning rate of the last step that `optimizer` took, to six digits."""
    rate = optimizer.learning_rate
    if train.schedule:  # which Keras evaluates for the next step
        done = int(keras.ops.convert_to_numpy(optimizer.iterations))
        inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
        done *= inner.gradient_accumulation_steps or 1  # batches
        rate = build_schedule(train, batches)(max(done - 1, 0))
    return shorten(float(keras.ops.convert_to_numpy(rate)))


def describe(one: keras.Optimizer | keras.Loss) -> dict[str, Any]:
    """The class of an object of Keras with all its arguments, those that Keras fills in
    included."""
    return simplify({"class_name": type(one).__name__, "config": one.get_config()})


def simplify(value: Any) -> Any:
    """What Keras serialised, without the names of modules and of the object; learning rates, which
    Keras reads from a float32, as they are written by hand."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    arguments = {
        key: shorten(one) if key == "learning_rate" and isinstance(one, float) else simplify(one)
        for key, one in value["config"].items()
        if key != "name"
    }
    return {"class": value["class_name"], **arguments}


def shorten(value: float) -> float:
    return float(f"{value:.6g}")


def build_loss(train: Train, on_logits: bool = False) -> keras.Loss:
    """The loss, on class probabilities or on logits; the latter where `has_logits_form`."""
    arguments = train.loss_arguments | ({"from_logits": True} if on_logits else {})
    return build("loss", keras.losses, train.loss, arguments)


def has_logits_form(train: Train) -> bool:
    """Whether the loss is a cross-entropy of classes, which is exact on logits only."""
    return train.loss.removeprefix("sparse_") == "categorical_crossentropy"


def name_metrics(train: Train) -> list[str]:
    """What is measured in each epoch beside the loss. The squared error needs one-hot labels."""
    return ["accuracy"] if takes_class_numbers(train) else ["accuracy", "mean_squared_error"]


def weigh_classes(train: Train, labels: np.ndarray) -> dict[int, float] | None:
    """What an image of each class counts in the training loss; None where all count 1. ``balanced``
    is images / (classes * images of the class), for `labels` int (images,)."""
    if train.class_weight == "none":
        return None
    from sklearn.utils.class_weight import compute_class_weight

    classes = np.unique(labels)
    return dict(
        zip(classes.tolist(), compute_class_weight("balanced", classes=classes, y=labels).tolist())
    )


def takes_class_numbers(train: Train) -> bool:
    """Whether the loss compares with class numbers; the others compare with one-hot rows."""
    return train.loss in (
        "categorical_generalized_cross_entropy",
        "sparse_categorical_crossentropy",
    )


def build(kind: str, module: Any, name: str, arguments: dict[str, Any]) -> Any:
    """An object of Keras's `module`, whose class is `name` but for case and underscores. Raises
    `UserError` for a bad argument."""
    classes = {
        attribute.lower(): one for attribute, one in vars(module).items() if isinstance(one, type)
    }
    try:
        return classes[name.replace("_", "").lower()](**arguments)
    except (TypeError, ValueError) as error:
        last_line = str(error).strip().splitlines()[-1]
        raise UserError(
            f"params.yaml: train.{kind}_arguments: {name} does not take {arguments}: {last_line}"
        ) from None
