"""The schema of the section ``train`` of ``params.yaml``."""

import math
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from stages.params.fields import Count, Section, argument, one_of
from stages.params.names import LOSSES, OPTIMIZERS, SCHEDULES
from stages.training.in_epochs import IN_EPOCHS


class EarlyStopping(Section):
    monitor: one_of("val_accuracy", "val_loss", "accuracy", "loss")
    patience: Annotated[int, Field(ge=0)] | None
    restore_best: one_of("always", "when_stopped", "never")


def is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


class Train(Section):
    optimizer: one_of(*OPTIMIZERS)
    learning_rate: Annotated[float, Field(gt=0)] | None
    optimizer_arguments: dict[str, argument()]
    schedule: one_of(*SCHEDULES) | None
    schedule_arguments: dict[str, argument(lists=True)]
    loss: one_of(*LOSSES)
    loss_arguments: dict[str, argument(lists=True, text=True)]
    batch_size: Count
    epochs: Count
    early_stopping: EarlyStopping
    class_weight: one_of("none", "balanced")
    calibration: one_of("none", "temperature")
    precision: one_of("float32", "mixed_bfloat16", "mixed_float16")
    prediction_batch_size: Count
    threads: Count
    instruction_set: one_of("avx512", "avx2")

    @model_validator(mode="after")
    def check_optimizer(self) -> "Train":
        if self.schedule and self.learning_rate is not None:
            raise ValueError(
                "learning_rate must be empty when a schedule is given: the schedule's arguments "
                "set it"
            )
        if self.schedule_arguments and not self.schedule:
            raise ValueError("schedule_arguments are given, but no schedule")
        if "learning_rate" in self.optimizer_arguments:
            raise ValueError("learning_rate has its own key, outside optimizer_arguments")
        if self.optimizer_arguments.get("use_ema") and self.early_stopping.restore_best != "never":
            raise ValueError(
                "optimizer_arguments.use_ema averages the weights, and early_stopping.restore_best "
                "would replace them by those of one epoch: set it to never"
            )
        return self

    @model_validator(mode="after")
    def check_precision(self) -> "Train":
        if self.precision == "mixed_bfloat16" and self.instruction_set == "avx2":
            raise ValueError(
                "precision is mixed_bfloat16, for which oneDNN has no kernels with instruction_set "
                "avx2: choose float32, mixed_float16 or avx512"
            )
        return self

    @field_validator("optimizer_arguments")
    @classmethod
    def check_optimizer_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for key, value in arguments.items():
            if key.endswith("_steps") and isinstance(value, float):
                raise ValueError(f"{key}: {value!r} is not a whole number")
        return arguments

    @field_validator("loss_arguments")
    @classmethod
    def check_loss_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for key, value in arguments.items():
            if isinstance(value, str) and key not in ("name", "reduction", "dtype"):
                raise ValueError(f"{key}: {value!r} is text: remove the quotes")
        smoothing = arguments.get("label_smoothing")
        if isinstance(smoothing, int | float) and not 0 <= smoothing <= 1:
            raise ValueError(f"label_smoothing: {smoothing} is not a share, from 0 to 1")
        if "from_logits" in arguments:
            raise ValueError(
                "from_logits follows from the network, which gives probabilities: leave it out"
            )
        return arguments

    @model_validator(mode="after")
    def check_schedule_arguments(self) -> "Train":
        arguments = self.schedule_arguments
        for epochs, steps in IN_EPOCHS.items():
            if epochs in arguments and steps in arguments:
                raise ValueError(f"schedule_arguments has both {epochs} and {steps}: give one")
            value = arguments.get(epochs)
            if epochs != "boundary_epochs" and value is not None and not is_duration(value):
                raise ValueError(
                    f"schedule_arguments.{epochs}: {value!r} is not a number of epochs (0 or more)"
                )
        for key in ("boundary_epochs", "boundaries"):
            value = arguments.get(key)
            # of boundaries out of order, Keras would add up the rates of several steps
            if value is not None and not (
                isinstance(value, list)
                and value
                and all(map(is_duration, value))
                and value == sorted(value)
            ):
                raise ValueError(
                    f"schedule_arguments.{key}: {value!r} is not a list of numbers (0 or more) in "
                    "ascending order"
                )
        for warm_up in ("warmup_epochs", "warmup_steps"):
            if arguments.get(warm_up) and arguments.get("warmup_target") is None:
                raise ValueError(
                    f"schedule_arguments.{warm_up} has no effect without warmup_target, the rate "
                    "that the warm-up ends with"
                )
        return self
