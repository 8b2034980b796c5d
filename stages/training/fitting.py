"""Training with Keras's `fit`: its phases and callbacks."""

import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from stages.params.schema import Train
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import finetuning, heads, notes, recipe, time_left
from stages.training.batches import Batches
from stages.training.checkpoint import Checkpoint, EarlyStopping, Past
from stages.training.compiling import compile_model, compile_trainer, make_batches
from stages.training.description import describe_training, fingerprint
from stages.training.experiment import Experiment, locate_head_checkpoint
from stages.training.network import Network
from stages.training.tensorboard import TensorBoard

HEAD = "head"  # the name of the phase that trains only the classifier


@dataclass(frozen=True)
class Phase:
    """The inputs to one call of Keras's `fit`: a model compiled with `optimizer`, the training and
    validation batches, and the checkpoint file. history.csv records the name, if the training has
    phases."""

    name: str | None
    trainer: heads.MultiHeadModel
    optimizer: keras.Optimizer
    batches: Batches
    validation: Batches
    checkpoint: Path


def train_network(
    experiment: Experiment,
    network: Network,
    prepared: Prepared,
    folder: Path,
    checkpoint: Path,
    logs: Path | None = None,
) -> tuple[dict[str, Any], float]:
    """Fit `network`, resuming from the file `checkpoint` if it matches. Writes history.csv into
    `folder` after each epoch, and TensorBoard's logs into `logs`. The network ends with the weights
    that ``restore_best`` asks for. Returns the content of training.json, and the seconds that all
    phases took, including those before interruptions."""
    tuning = experiment.architecture.fine_tuning if experiment.pretrained else None
    past, head_epochs = Past(), 0
    notes.warn_of_second_softmax(network.model)
    with heads.giving_logits(network.model, when=recipe.has_logits_form(experiment.train)):
        if tuning and tuning.head_epochs:
            past = train_head(experiment, network, prepared, folder, checkpoint, logs)
            head_epochs = len(past.history)
        if not tuning or tuning.layers != "none":
            trainer = compile_trainer(experiment, network)
            name = "fine-tuning" if tuning else None
            batches = make_batches(experiment, prepared)
            notes.warn_of_schedule(experiment.train, len(batches[0]))
            notes.warn_of_steps(experiment.train, len(batches[0]))
            phase = Phase(name, trainer, network.optimizer, *batches, checkpoint)
            past = carry_over(past, phase, experiment.train)
            past = fit_phase(experiment, prepared, folder, phase, past, logs)
    description = describe_training(experiment, network, prepared, past)
    if tuning:
        description["pretrained"] = {**experiment.pretrained.about, "head_epochs": head_epochs}
    return description, past.seconds


def train_head(
    experiment: Experiment,
    network: Network,
    prepared: Prepared,
    folder: Path,
    checkpoint: Path,
    logs: Path | None,
) -> Past:
    """Fit only the classifier of a pre-trained network, on features that the rest of it computes;
    this phase has its own checkpoint beside `checkpoint`."""
    started = time.perf_counter()
    experiment = replace(experiment, train=finetuning.derive_head_recipe(experiment))
    base, head = finetuning.split_head(network.model)
    features = finetuning.compute_features(
        experiment, base, prepared, checkpoint.parent / "features"
    )
    batches = make_batches(experiment, prepared, features)
    optimizer = recipe.build_optimizer(experiment.train, len(batches[0]))
    recipe.build_variables(optimizer, head.trainable_variables)
    trainer = heads.MultiHeadModel(head.inputs, head.outputs)
    compile_model(trainer, optimizer, experiment.train)
    phase = Phase(HEAD, trainer, optimizer, *batches, locate_head_checkpoint(checkpoint))
    past = Past(seconds=time.perf_counter() - started)
    return fit_phase(experiment, prepared, folder, phase, past, logs)


def fit_phase(
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    phase: Phase,
    past: Past,
    logs: Path | None,
) -> Past:
    """Fit one phase with the recipe of `experiment`, continuing after the epochs in `past`. Returns
    the history and state of both."""
    early_stopping = EarlyStopping(**experiment.train.early_stopping.model_dump())
    limit = len(past.history) + experiment.train.epochs
    checkpoint = Checkpoint(
        phase.checkpoint,
        fingerprint(experiment, prepared),
        phase.trainer,
        phase.optimizer,
        early_stopping,
        past,
        limit,
    )
    if file := checkpoint.restore():
        print(f"{experiment.name}: resuming after epoch {len(checkpoint.history)}, from {file}")
    done = len(checkpoint.history)
    folder.mkdir(parents=True, exist_ok=True)

    def record_history(epoch: int | None = None, logs: dict[str, float] | None = None) -> None:
        write_history(checkpoint.history, folder, past, phase)

    phase.trainer.fit(
        phase.batches,
        validation_data=phase.validation,
        initial_epoch=done,
        epochs=done if checkpoint.finished else limit,
        callbacks=[
            # the order matters: `checkpoint` saves what the callbacks before it have changed
            EpochHooks(experiment, phase),
            early_stopping,
            checkpoint,
            time_left.TimeLeft(experiment, phase),
            *([TensorBoard(logs, checkpoint.history)] if logs else []),
            keras.callbacks.LambdaCallback(on_epoch_end=record_history),
        ],
        class_weight=recipe.weigh_classes(experiment.train, prepared.labels("train")),
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,  # the batches shuffle themselves
    )
    record_history()  # even if no epoch was left to train
    state = {}
    if early_stopping.best_weights is not None:
        state = {"best": early_stopping.best, "best_epoch": early_stopping.best_epoch}
    return Past(checkpoint.history, state, checkpoint.seconds)


def carry_over(past: Past, phase: Phase, train: Train) -> Past:
    """The `past` that the next `phase` continues from. Early stopping takes over the best epoch so
    far, with the weights that the phase starts from, but only if it monitors validation data:
    training metrics of the two phases are not comparable, since the head is trained without
    augmentation."""
    stopping_state = {}
    if past.stopping_state and train.early_stopping.monitor.startswith("val_"):
        stopping_state = {**past.stopping_state, "best_weights": phase.trainer.get_weights()}
    return Past(past.history, stopping_state, past.seconds)


class EpochHooks(keras.callbacks.Callback):
    """Shuffle the images before each epoch, and log the learning rate of its last step. Raises
    `UserError` if the loss is no longer finite, before a checkpoint is written."""

    def __init__(self, experiment: Experiment, phase: Phase):
        super().__init__()
        self.experiment, self.phase = experiment, phase

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.phase.batches.begin(epoch)
        if keras.config.backend() == "torch":
            seed_torch(self.experiment.seed, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]) or math.isnan(logs["val_loss"]):
            name = "val_loss" if math.isfinite(logs["loss"]) else "loss"
            raise UserError(
                f"{self.experiment.name}: the {name} is {logs[name]} in epoch {epoch + 1}: try a "
                f"lower learning rate ({name_rate_key(self.experiment.train, self.phase)})"
            )
        logs["learning_rate"] = recipe.read_learning_rate(
            self.experiment.train, self.phase.optimizer, len(self.phase.batches)
        )


def seed_torch(seed: int, epoch: int) -> None:
    """Seed PyTorch's global generator for each epoch: dropout draws from it, and no checkpoint
    saves its state."""
    import torch

    torch.manual_seed(int(np.random.default_rng([seed, epoch]).integers(2**63)))


def name_rate_key(train: Train, phase: Phase) -> str:
    """The key of ``params.yaml`` that sets the learning rate of `phase`."""
    if phase.name == HEAD:
        return "fine_tuning.head_learning_rate of the architecture"
    return "train.schedule_arguments" if train.schedule else "train.learning_rate"


def write_history(history: list[dict[str, float]], folder: Path, past: Past, phase: Phase) -> None:
    """Write history.csv, a row per completed epoch, counted from 1. If the training has phases, a
    column names them: the epochs in `past` trained the head."""
    table = pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="epoch"))
    if phase.name:
        table.insert(0, "phase", phase.name)
        table.loc[: len(past.history), "phase"] = HEAD
    with files.replacing(folder / "history.csv") as partial:
        exact = ("phase", "learning_rate")
        table.round({name: 6 for name in table if name not in exact}).to_csv(partial)
