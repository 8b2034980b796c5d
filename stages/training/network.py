"""The network that a training fits and saves, and its optimizer."""

from dataclasses import dataclass

import keras

from stages import architectures
from stages.storage.prepared import Prepared
from stages.training import devices, finetuning, heads, recipe
from stages.training.experiment import Experiment


@dataclass(frozen=True)
class Network:
    """Three models that share weights, and their optimizer.

    Each maps images, uint8 (batch, height, width, channels), to class probabilities, float32
    (batch, classes), or to a list of these, the main head first; during fitting, to logits.
    """

    model: keras.Model  # the bare architecture: no optimizer, metrics or augmentation
    fitted: keras.Model  # used for fitting and validation
    saved: keras.Model  # used for saving and predicting: `model`, or its test-time augmentation
    # build it only once the initial weights are set: some optimizers copy them
    optimizer: keras.Optimizer
    loss_weights: list[float] | None  # of all heads; None without auxiliary ones


def build_network(experiment: Experiment, prepared: Prepared) -> Network:
    """Build the network of `experiment`, with initial weights that are random by its seed,
    pre-trained, or computed from the training images by the family. Raises `UserError` if the
    processor does not support the precision."""
    devices.require_precision(experiment.train.precision)
    keras.utils.set_random_seed(experiment.seed)
    keras.config.set_dtype_policy(experiment.train.precision)
    arguments = experiment.architecture.model_dump(exclude_unset=True)
    family = arguments.pop("family")
    loss_weights = arguments.pop("loss_weights", None)
    average_mirrored = arguments.pop("average_mirrored", False)
    arguments.pop("fine_tuning", None)
    model = architectures.build(experiment.name, family, arguments, prepared.description)
    if experiment.pretrained:
        architectures.load(model, experiment.name, family, arguments, experiment.pretrained.file)
        finetuning.zero_head(model)
        finetuning.freeze(model, experiment.architecture.fine_tuning, experiment.name)
    saved = heads.add_test_time_augmentation(model) if average_mirrored else model
    batches = -(-len(prepared.labels("train")) // experiment.train.batch_size)
    optimizer = recipe.build_optimizer(experiment.train, batches)
    architectures.adapt(model, family, arguments, prepared.images("train"))
    return Network(model, model, saved, optimizer, loss_weights)
