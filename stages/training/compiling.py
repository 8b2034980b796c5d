"""Compile the models that Keras fits, and make their batches."""

import keras
import numpy as np

from stages.params.schema import Train
from stages.storage.prepared import Prepared
from stages.training import augmentation, heads, recipe
from stages.training.batches import Batches
from stages.training.experiment import Experiment
from stages.training.network import Network

STEPS_PER_EXECUTION = 20  # batches per call from Python: faster than 1, with the same bits


def compile_trainer(experiment: Experiment, network: Network) -> heads.MultiHeadModel:
    """Compile the model that Keras fits: augmentation, then the network."""
    trainer = heads.MultiHeadModel(
        *augmentation.prepend_to(network.fitted, experiment.augment, experiment.seed)
    )
    if not network.optimizer.built:
        recipe.build_variables(network.optimizer, network.model.trainable_variables)
    compile_model(trainer, network.optimizer, experiment.train, network.loss_weights)
    return trainer


def compile_model(
    model: heads.MultiHeadModel,
    optimizer: keras.Optimizer,
    train: Train,
    loss_weights: list[float] | None = None,
) -> None:
    """Compile `model` with the recipe's loss and metrics for each of its outputs. Raises
    `UserError` if the loss cannot be computed for them."""
    recipe.check_loss(train, model.outputs[0].shape[-1])
    model.gives_logits = recipe.has_logits_form(train)
    torch = keras.config.backend() == "torch"
    model.compile(
        optimizer,
        loss=[recipe.build_loss(train, model.gives_logits) for _ in model.outputs],
        loss_weights=loss_weights,
        metrics=[recipe.name_metrics(train) for _ in model.outputs],
        steps_per_execution=1 if torch else STEPS_PER_EXECUTION,  # torch supports only 1
    )


def make_batches(
    experiment: Experiment,
    prepared: Prepared,
    features: dict[str, np.ndarray] | None = None,
) -> tuple[Batches, Batches]:
    """Batches of the training set, shuffled, and of the validation set: of images, or of their
    `features` if given."""
    train = experiment.train
    classes = (  # of one-hot labels
        None if recipe.takes_class_numbers(train) else len(prepared.description["class_names"])
    )
    sizes = {"train": train.batch_size, "validation": train.prediction_batch_size}
    seeds = {"train": experiment.seed, "validation": None}
    training, validation = (
        Batches(
            features[part] if features else prepared.images(part),
            prepared.labels(part),
            size,
            classes,
            seeds[part],
        )
        for part, size in sizes.items()
    )
    return training, validation
