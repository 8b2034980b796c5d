"""The training itself: batches, callbacks, Keras's `fit`, and the description of what was done."""

import hashlib
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from stages.params.schema import Train
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import augmentation, code, finetuning, heads, recipe
from stages.training.batches import Batches
from stages.training.checkpoint import Checkpoint, EarlyStopping, Past
from stages.training.network import Network
from stages.training.run import Experiment, locate_head_checkpoint

OF_DATA = (  # what training.json takes over from data.json
    "dataset",
    "class_names",
    "image_shape",
    "decoded_channels",
    "preprocess",
    "validation_is_test",
    "validation_is_training",
)
STEPS_PER_EXECUTION = 20  # batches between two returns to Python: faster, with the same bits


@dataclass(frozen=True)
class Phase:
    """What one call of Keras's `fit` takes: a model that is compiled with `optimizer`, the batches
    of both parts, how many epochs at most, and the file of the checkpoint."""

    trainer: heads.Trainer
    optimizer: keras.Optimizer
    batches: Batches
    validation: Batches
    epochs: int
    checkpoint: Path


def train_network(
    experiment: Experiment, network: Network, prepared: Prepared, folder: Path, checkpoint: Path
) -> dict[str, Any]:
    """Fit `network`, from the file `checkpoint` where that fits, writing history.csv into `folder`
    after each epoch. The network then has the weights that ``restore_best`` asks for. Returns the
    content of training.json."""
    tuning = experiment.architecture.fine_tuning if experiment.pretrained else None
    past, head_epochs = Past(), 0
    if tuning and tuning.head_epochs:
        past = train_head(experiment, network, prepared, folder, checkpoint)
        head_epochs = len(past.history)
    if not tuning or tuning.layers != "none":
        phase = Phase(
            compile_trainer(experiment, network),
            network.optimizer,
            *make_batches(experiment, prepared),
            experiment.train.epochs,
            checkpoint,
        )
        past = fit_phase(experiment, prepared, folder, phase, carry_over(past, phase.trainer))
    description = describe_training(experiment, network, prepared, past)
    if tuning:
        description["pretrained"] = {**experiment.pretrained.about, "head_epochs": head_epochs}
    return description


def train_head(
    experiment: Experiment, network: Network, prepared: Prepared, folder: Path, checkpoint: Path
) -> Past:
    """Fit the classifier of a pre-trained network alone, on the features that the rest gives of
    the images; a phase with a checkpoint of its own beside `checkpoint`."""
    tuning, train = experiment.architecture.fine_tuning, experiment.train
    base, head = finetuning.build_head(network.model)
    place = checkpoint.parent / "features"
    features = finetuning.compute_features(experiment, base, prepared, place)
    optimizer = keras.optimizers.Adam(tuning.head_learning_rate)
    optimizer.build(head.trainable_variables)
    trainer = heads.Trainer(head.inputs, head.outputs)
    compile_model(trainer, optimizer, train)
    phase = Phase(
        trainer,
        optimizer,
        *make_batches(experiment, prepared, features),
        tuning.head_epochs,
        locate_head_checkpoint(checkpoint),
    )
    return fit_phase(experiment, prepared, folder, phase, Past())


def fit_phase(
    experiment: Experiment, prepared: Prepared, folder: Path, phase: Phase, past: Past
) -> Past:
    """Fit one phase, behind the epochs in `past`. Returns these and its own."""
    early_stopping = EarlyStopping(**experiment.train.early_stopping.model_dump())
    keeper = Checkpoint(
        phase.checkpoint,
        fingerprint(experiment, prepared),
        phase.trainer,
        phase.optimizer,
        early_stopping,
        past,
    )
    if keeper.restore():
        print(
            f"{experiment.name}: going on behind epoch {len(keeper.history)}, from "
            f"{phase.checkpoint}"
        )
    done = len(keeper.history)
    folder.mkdir(parents=True, exist_ok=True)
    phase.trainer.fit(
        phase.batches,
        validation_data=phase.validation,
        initial_epoch=done,
        epochs=done if keeper.finished else len(past.history) + phase.epochs,
        callbacks=[
            Watch(experiment.name, phase.batches),  # first: a checkpoint never holds NaN
            early_stopping,
            keeper,
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: write_history(keeper.history, folder)
            ),
        ],
        class_weight=recipe.weigh_classes(experiment.train, prepared.labels("train")),
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,  # the batches shuffle themselves
    )
    write_history(keeper.history, folder)  # where no epoch was left to train
    state = {}
    if early_stopping.best_weights is not None:
        state = {"best": early_stopping.best, "best_epoch": early_stopping.best_epoch}
    return Past(keeper.history, state)


def carry_over(past: Past, trainer: keras.Model) -> Past:
    """`past` for a phase that `trainer` begins: where the best epoch is kept, it is that of both
    phases; its weights are those that the phase begins with."""
    kept = {**past.kept, "best_weights": trainer.get_weights()} if past.kept else {}
    return Past(past.history, kept)


def compile_trainer(experiment: Experiment, network: Network) -> heads.Trainer:
    """The model that Keras fits: augmentation, then the network."""
    trainer = heads.Trainer(
        *augmentation.put_in_front_of(network.fitted, experiment.augment, experiment.seed)
    )
    compile_model(trainer, network.optimizer, experiment.train, network.loss_weights)
    return trainer


def compile_model(
    model: keras.Model,
    optimizer: keras.Optimizer,
    train: Train,
    loss_weights: list[float] | None = None,
) -> None:
    """Compile `model` with the loss and the metrics of the recipe, for each of its outputs."""
    model.compile(
        optimizer,
        loss=[recipe.build_loss(train) for _ in model.outputs],
        loss_weights=loss_weights,
        metrics=[recipe.name_metrics(train) for _ in model.outputs],
        steps_per_execution=1
        if keras.config.backend() == "torch"
        else STEPS_PER_EXECUTION,  # torch allows no other
    )


def make_batches(
    experiment: Experiment,
    prepared: Prepared,
    features: dict[str, np.ndarray] | None = None,
) -> tuple[Batches, Batches]:
    """The batches of the training part, shuffled, and those of the validation part: of images, or
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
    """Draw the order of each epoch's batches; stop a training whose loss is no longer a number."""

    def __init__(self, name: str, batches: Batches):
        super().__init__()
        self.name, self.batches = name, batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.batches.begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"{self.name}: the loss is {logs['loss']} in epoch {epoch + 1}: a lower "
                "train.learning_rate may help"
            )


def write_history(history: list[dict[str, float]], folder: Path) -> None:
    """Write history.csv: a row for each epoch done, counted from 1."""
    table = pd.DataFrame(history, index=pd.RangeIndex(1, len(history) + 1, name="epoch"))
    with files.replacing(folder / "history.csv") as partial:
        table.round(6).to_csv(partial)


def describe_training(
    experiment: Experiment, network: Network, prepared: Prepared, past: Past
) -> dict[str, Any]:
    """The content of training.json after all phases."""
    model, description = network.model, prepared.description
    epochs, best = len(past.history), past.kept.get("best_epoch")  # counted from 0
    return {
        "model": experiment.name,
        "parameters": {
            "total": model.count_params(),
            "trainable": sum(math.prod(weights.shape) for weights in model.trainable_weights),
        },
        "epochs": epochs,
        "kept_epoch": epochs if best is None else best + 1,
        "seed": experiment.seed,
        "architecture": experiment.architecture.model_dump(exclude_unset=True),
        "train": experiment.train.model_dump(),
        "augment": experiment.augment.model_dump(),
        **{key: description[key] for key in OF_DATA},
        "layers": [describe_layer(layer) for layer in model.layers],
    }


def describe_layer(layer: keras.Layer) -> dict[str, Any]:
    """A layer as training.json lists it; output_shape is without the batch axis."""
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "output_shape": layer.output.shape[1:],
        "parameters": layer.count_params(),
    }


def fingerprint(experiment: Experiment, prepared: Prepared) -> str:
    """A digest of all that decides the result: the experiment, the data, the code, and the versions
    of the libraries."""
    parts = [
        experiment,
        prepared.description,
        prepared.most,
        code.fingerprint(experiment.architecture.family),
        list_versions(),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def list_versions() -> list[str]:
    """The backend, and the versions of the libraries that compute."""
    backend = keras.config.backend()
    return [backend, *(sys.modules[name].__version__ for name in ("keras", backend, "numpy"))]
