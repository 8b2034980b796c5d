"""The training itself: batches, callbacks, Keras's `fit`, and the description of what was done."""

import hashlib
import math
import sys
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import augmentation, code, heads, recipe
from stages.training.batches import Batches
from stages.training.checkpoint import Checkpoint, EarlyStopping
from stages.training.network import Network
from stages.training.run import Experiment

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


def train_network(
    experiment: Experiment, network: Network, prepared: Prepared, folder: Path, checkpoint: Path
) -> dict[str, Any]:
    """Fit `network`, from the file `checkpoint` where that fits, writing history.csv into `folder`
    after each epoch. The network then has the weights that ``restore_best`` asks for. Returns the
    content of training.json."""
    train = experiment.train
    trainer = compile_trainer(experiment, network)
    batches, validation = make_batches(experiment, prepared)
    early_stopping = EarlyStopping(**train.early_stopping.model_dump())
    keeper = Checkpoint(
        checkpoint, fingerprint(experiment, prepared), trainer, network.optimizer, early_stopping
    )
    done = keeper.restore()
    if done:
        print(f"{experiment.name}: going on behind epoch {done}, from {checkpoint}")
    folder.mkdir(parents=True, exist_ok=True)
    trainer.fit(
        batches,
        validation_data=validation,
        initial_epoch=done,
        epochs=done if keeper.finished else train.epochs,
        callbacks=[
            Watch(experiment.name, batches),  # first: a checkpoint never holds NaN
            early_stopping,
            keeper,
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: write_history(keeper.history, folder)
            ),
        ],
        class_weight=recipe.weigh_classes(train, prepared.labels("train")),
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,  # the batches shuffle themselves
    )
    write_history(keeper.history, folder)  # where no epoch was left to train
    best = early_stopping.best_epoch if early_stopping.best_weights is not None else None
    return describe_training(experiment, network, prepared, len(keeper.history), best)


def compile_trainer(experiment: Experiment, network: Network) -> heads.Trainer:
    """The model that Keras fits: augmentation, then the network."""
    train = experiment.train
    trainer = heads.Trainer(
        *augmentation.put_in_front_of(network.fitted, experiment.augment, experiment.seed)
    )
    trainer.compile(
        network.optimizer,
        loss=[recipe.build_loss(train) for _ in network.model.outputs],
        loss_weights=network.loss_weights,
        metrics=[recipe.name_metrics(train) for _ in network.model.outputs],
        steps_per_execution=1
        if keras.config.backend() == "torch"
        else STEPS_PER_EXECUTION,  # torch allows no other
    )
    return trainer


def make_batches(experiment: Experiment, prepared: Prepared) -> tuple[Batches, Batches]:
    """The batches of the training part, shuffled, and those of the validation part."""
    train = experiment.train
    one_hot = (
        None if recipe.takes_class_numbers(train) else len(prepared.description["class_names"])
    )
    sizes = {"train": train.batch_size, "validation": train.prediction_batch_size}
    seeds = {"train": experiment.seed, "validation": None}
    training, validation = (
        Batches(prepared.images(part), prepared.labels(part), size, one_hot, seeds[part])
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
    experiment: Experiment, network: Network, prepared: Prepared, epochs: int, best: int | None
) -> dict[str, Any]:
    """The content of training.json after `epochs` epochs; `best` is the epoch, counted from 0,
    whose weights came back, or None where the last ones stayed."""
    model, description = network.model, prepared.description
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
        keras.config.backend(),
        *(sys.modules[name].__version__ for name in ("keras", keras.config.backend(), "numpy")),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
