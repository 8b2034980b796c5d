"""The description of a training: training.json, and the fingerprint for its checkpoint."""

import hashlib
import math
from dataclasses import replace
from typing import Any

import keras

from stages.storage.prepared import Prepared
from stages.training import code, devices, recipe
from stages.training.checkpoint import Past
from stages.training.experiment import Experiment
from stages.training.network import Network

DATA_KEYS = (  # copied from data.json to training.json
    "dataset",
    "class_names",
    "image_shape",
    "decoded_channels",
    "preprocess",
    "validation_is_test",
    "validation_is_training",
)


def describe_training(
    experiment: Experiment, network: Network, prepared: Prepared, past: Past
) -> dict[str, Any]:
    """The content of training.json after all phases."""
    model, description = network.model, prepared.description
    preprocess = description["preprocess"]
    if experiment.pretrained:  # the network has a normalisation of its own
        preprocess = preprocess | {"normalisation": "none"}
    epochs, best = len(past.history), past.stopping_state.get("best_epoch")  # counted from 0
    return {
        "model": experiment.name,
        "parameters": {
            "total": model.count_params(),
            "trainable": sum(math.prod(weights.shape) for weights in model.trainable_weights),
        },
        "epochs": epochs,
        "kept_epoch": epochs if best is None else best + 1,
        "seed": experiment.seed,
        "computed_by": devices.name_backend_and_devices(),
        "architecture": experiment.architecture.model_dump(exclude_unset=True),
        "train": experiment.train.model_dump(),
        "effective_recipe": {
            "optimizer": recipe.describe(network.optimizer),
            "loss": recipe.describe(
                recipe.build_loss(experiment.train, recipe.has_logits_form(experiment.train))
            ),
        },
        "augment": experiment.augment.model_dump(),
        **{key: description[key] for key in DATA_KEYS},
        "preprocess": preprocess,
        "layers": [describe_layer(layer) for layer in model.layers],
    }


def describe_layer(layer: keras.Layer) -> dict[str, Any]:
    """The entry of a layer in training.json; output_shape omits the batch axis."""
    return {
        "name": layer.name,
        "type": type(layer).__name__,
        "output_shape": layer.output.shape[1:],
        "parameters": layer.count_params(),
    }


def fingerprint(experiment: Experiment, prepared: Prepared) -> str:
    """A digest of everything that determines the result of each epoch: the experiment without the
    number of epochs, the data, the code, the platform, and the versions of the libraries."""
    train = experiment.train.model_copy(update={"epochs": None})
    parts = [
        replace(experiment, train=train),
        prepared.description,
        prepared.most,
        code.fingerprint(experiment.architecture.family),
        devices.describe_platform(),
        *code.list_versions(),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()
