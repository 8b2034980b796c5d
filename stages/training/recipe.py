"""The Keras objects that the section ``train`` of ``params.yaml`` names: optimizer, schedule, loss,
class weights."""

from typing import Any

import keras
import numpy as np

from stages.params.schema import Train
from stages.runtime.errors import UserError


def build_optimizer(train: Train) -> keras.Optimizer:
    """The optimizer, with its learning rate: a number, a schedule, or its own default where the
    parameters leave it empty."""
    arguments = dict(train.optimizer_arguments)
    if train.schedule:
        schedule = build(
            "schedule", keras.optimizers.schedules, train.schedule, train.schedule_arguments
        )
        arguments["learning_rate"] = schedule
    elif train.learning_rate is not None:
        arguments["learning_rate"] = train.learning_rate
    chosen = build("optimizer", keras.optimizers, train.optimizer, arguments)
    if (
        train.precision == "mixed_float16"
    ):  # as `compile` would: small gradients are lost in float16 otherwise
        return keras.optimizers.LossScaleOptimizer(chosen)
    return chosen


def build_loss(train: Train) -> keras.Loss:
    """The loss, on class probabilities."""
    return build("loss", keras.losses, train.loss, train.loss_arguments)


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
    return train.loss.startswith("sparse_")


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
