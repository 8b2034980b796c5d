"""The training itself: phases, batches, callbacks, and Keras's `fit`."""

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
from stages.training import augmentation, finetuning, heads, notes, progress, recipe
from stages.training.batches import Batches
from stages.training.checkpoint import Checkpoint, EarlyStopping, Past
from stages.training.description import describe_training, fingerprint
from stages.training.experiment import Experiment, locate_head_checkpoint
from stages.training.network import Network
from stages.training.tensorboard import TensorBoard

STEPS_PER_EXECUTION = 20  # batches between two returns to Python: faster, with the same bits
HEAD = "head"  # the name of the phase that trains the classifier alone


@dataclass(frozen=True)
class Phase:
    """What one call of Keras's `fit` takes: a model that is compiled with `optimizer`, the batches
    of both parts, and the file of the checkpoint. The name stands in history.csv, where a training
    has phases."""

    name: str | None
    trainer: heads.Trainer
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
    """Fit `network`, from the file `checkpoint` where that fits, writing history.csv into `folder`
    after each epoch, and what TensorBoard shows into the folder `logs`. The network then has the
    weights that ``restore_best`` asks for. Returns the content of training.json, and the seconds
    that all phases took, however often they were stopped."""
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
    """Fit the classifier of a pre-trained network alone, on the features that the rest gives of
    the images; a phase with a checkpoint of its own beside `checkpoint`."""
    started = time.perf_counter()
    one = replace(experiment, train=finetuning.complete_head_recipe(experiment))
    base, head = finetuning.build_head(network.model)
    features = finetuning.compute_features(one, base, prepared, checkpoint.parent / "features")
    batches = make_batches(one, prepared, features)
    optimizer = recipe.build_optimizer(one.train, len(batches[0]))
    recipe.build_variables(optimizer, head.trainable_variables)
    trainer = heads.Trainer(head.inputs, head.outputs)
    compile_model(trainer, optimizer, one.train)
    phase = Phase(HEAD, trainer, optimizer, *batches, locate_head_checkpoint(checkpoint))
    past = Past(seconds=time.perf_counter() - started)
    return fit_phase(one, prepared, folder, phase, past, logs)


def fit_phase(
    experiment: Experiment,
    prepared: Prepared,
    folder: Path,
    phase: Phase,
    past: Past,
    logs: Path | None,
) -> Past:
    """Fit one phase with the recipe of `experiment`, behind the epochs in `past`. Returns these and
    its own."""
    early_stopping = EarlyStopping(**experiment.train.early_stopping.model_dump())
    limit = len(past.history) + experiment.train.epochs
    keeper = Checkpoint(
        phase.checkpoint,
        fingerprint(experiment, prepared),
        phase.trainer,
        phase.optimizer,
        early_stopping,
        past,
        limit,
    )
    if file := keeper.restore():
        print(f"{experiment.name}: going on behind epoch {len(keeper.history)}, from {file}")
    done = len(keeper.history)
    folder.mkdir(parents=True, exist_ok=True)
    phase.trainer.fit(
        phase.batches,
        validation_data=phase.validation,
        initial_epoch=done,
        epochs=done if keeper.finished else limit,
        callbacks=[
            # first: what it does, others keep
            Watch(experiment, phase),
            early_stopping,
            keeper,
            progress.TimeLeft(experiment, phase),
            *([TensorBoard(logs, keeper.history)] if logs else []),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: write_history(keeper.history, folder, past, phase)
            ),
        ],
        class_weight=recipe.weigh_classes(experiment.train, prepared.labels("train")),
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,  # the batches shuffle themselves
    )
    write_history(keeper.history, folder, past, phase)  # where no epoch was left to train
    state = {}
    if early_stopping.best_weights is not None:
        state = {"best": early_stopping.best, "best_epoch": early_stopping.best_epoch}
    return Past(keeper.history, state, keeper.seconds)


def carry_over(past: Past, phase: Phase, train: Train) -> Past:
    """`past` for a `phase` that follows: where the best epoch is kept, it is that of both phases;
    its weights are those that the phase begins with. Training accuracy and loss of the two cannot
    be compared, since the head learns from images that are not augmented."""
    kept = {}
    if past.kept and train.early_stopping.monitor.startswith("val_"):
        kept = {**past.kept, "best_weights": phase.trainer.get_weights()}
    return Past(past.history, kept, past.seconds)


def compile_trainer(experiment: Experiment, network: Network) -> heads.Trainer:
    """The model that Keras fits: augmentation, then the network."""
    trainer = heads.Trainer(
        *augmentation.put_in_front_of(network.fitted, experiment.augment, experiment.seed)
    )
    if not network.optimizer.built:
        recipe.build_variables(network.optimizer, network.model.trainable_variables)
    compile_model(trainer, network.optimizer, experiment.train, network.loss_weights)
    return trainer


def compile_model(
    model: heads.Trainer,
    optimizer: keras.Optimizer,
    train: Train,
    loss_weights: list[float] | None = None,
) -> None:
    """Compile `model` with the loss and the metrics of the recipe, for each of its outputs."""
    model.gives_logits = recipe.has_logits_form(train)
    torch = keras.config.backend() == "torch"
    model.compile(
        optimizer,
        loss=[recipe.build_loss(train, model.gives_logits) for _ in model.outputs],
        loss_weights=loss_weights,
        metrics=[recipe.name_metrics(train) for _ in model.outputs],
        steps_per_execution=1 if torch else STEPS_PER_EXECUTION,  # torch allows no other than 1
    )


def make_batches(
    experiment: Experiment,
    prepared: Prepared,
    features: dict[str, np.ndarray] | None = None,
) -> tuple[Batches, Batches]:
    """The batches of the training set, shuffled, and those of the validation set: of images, or
    of their `features`."""
    train = experiment.train
    one_hot = (
        None if recipe.takes_class_numbers(train) else len(prepared.description["class_names"])
    )
    sizes = {"train": train.batch_size, "validation": train.prediction_batch_size}
    seeds = {"train": experiment.seed, "validation": None}
    training, validation = (
        Batches(
            features[part] if features else prepared.images(part),
            prepared.labels(part),
            size,
            one_hot,
            seeds[part],
        )
        for part, size in sizes.items()
    )
    return training, validation


class Watch(keras.callbacks.Callback):
    """Draw the order of each epoch's batches; log the learning rate of its last step; stop a
    training whose loss is no longer a number, so that no checkpoint holds that."""

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
                f"{self.experiment.name}: the {name} is {logs[name]} in epoch {epoch + 1}: a lower "
                f"learning rate may help, {name_rate(self.experiment.train, self.phase)}"
            )
        logs["learning_rate"] = recipe.read_learning_rate(
            self.experiment.train, self.phase.optimizer, len(self.phase.batches)
        )


def seed_torch(seed: int, epoch: int) -> None:
    """Have PyTorch draw anew in each epoch: dropout takes from a generator of the whole process,
    which no checkpoint keeps."""
    import torch

    torch.manual_seed(int(np.random.default_rng([seed, epoch]).integers(2**63)))


def name_rate(train: Train, phase: Phase) -> str:
    """The key of ``params.yaml`` that says how fast a phase learns."""
    if phase.name == HEAD:
        return "fine_tuning.head_learning_rate of the architecture"
    return "train.schedule_arguments" if train.schedule else "train.learning_rate"


def write_history(history: list[dict[str, float]], folder: Path, past: Past, phase: Phase) -> None:
    """Write history.csv: a row for each epoch done, counted from 1; with the name of its phase
    where there are phases: those in `past` were of the head."""
    table = pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="epoch"))
    if phase.name:
        table.insert(0, "phase", phase.name)
        table.loc[: len(past.history), "phase"] = HEAD
    with files.replacing(folder / "history.csv") as partial:
        exact = ("phase", "learning_rate")
        table.round({name: 6 for name in table if name not in exact}).to_csv(partial)
