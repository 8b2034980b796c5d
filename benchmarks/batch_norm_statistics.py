#!/usr/bin/env python3
"""Why a network with batch norm learns and still misclassifies images: its moving averages of mean
and variance compared with the statistics of its present weights.

usage: python benchmarks/batch_norm_statistics.py EXPERIMENT

EXPERIMENT is a replication whose training runs or was stopped; its first seed's checkpoint is read.
Prints, and writes to benchmarks/results/batch_norm_statistics.json and .md, the accuracy on
the validation images

- with the moving averages, as the network is validated and would be saved;
- with means and variances of 1,600 training images, computed with the weights as they are ("precise
  batch norm", https://arxiv.org/abs/2105.07576, section 3);
- with moving averages that begin with these, after one more epoch, and after one in which the
  biases of the convolutions are held: batch norm cancels a bias, except for what ReLU cuts off, so
  that much of its gradient is rounding, which Adam turns into steps like any other;

and how large the gradient of the first of these biases is, in float64 and in float32. Takes three
minutes on two cores.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from machine import PROJECT, described, in_words, write

sys.path.insert(0, str(PROJECT))
from stages.replications import options
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training.experiment import Experiment
from stages.training.state import read_state

IMAGES, BATCH = 1600, 32


def main(name: str) -> None:
    root, replications = options.load()
    entry = replications.experiments[name]
    recipe = options.complete_train(replications.common, entry)
    backend.start(recipe.threads, recipe.instruction_set)
    from stages.training import compiling, heads, network
    from stages.training.recipe import has_logits_form

    experiment = Experiment(
        name,
        entry.seeds[0],
        root.architectures[entry.architecture],
        options.complete_augment(replications.common, entry),
        recipe,
    )
    prepared = options.open_prepared(entry)
    compiling.STEPS_PER_EXECUTION = 1  # so that the bias can be put back after each batch
    built = network.build_network(experiment, prepared)
    trainer = compiling.compile_trainer(experiment, built)
    variables = [*trainer.variables, *built.optimizer.variables]
    source = options.FOLDER / "checkpoints" / name / f"seed-{experiment.seed}.npz"
    with tempfile.TemporaryDirectory() as folder:  # a training may replace it meanwhile
        file = Path(shutil.copy(source, folder))
        epoch = len(read_state(file)["history"])
        with np.load(file) as checkpoint:
            values = [checkpoint[f"variable{number}"] for number in range(len(variables))]

    def restore() -> None:
        for variable, value in zip(variables, values):
            variable.assign(value)

    restore()
    accuracies = {"moving averages": measure(built.model, prepared)}
    weights = [variable.numpy() for variable in built.model.variables]
    gradients = {
        kind: float(np.linalg.norm(differentiate(experiment, prepared, weights, kind)))
        for kind in ("float64", "float32")
    }
    restore()
    estimate_statistics(built.model, prepared)
    accuracies["statistics of the present weights"] = measure(built.model, prepared)
    for kind, held in (("", False), (", with the biases held", True)):
        restore()
        estimate_statistics(built.model, prepared)
        with heads.giving_logits(built.model, when=has_logits_form(recipe)):
            fit_epoch(trainer, compiling.make_batches(experiment, prepared)[0], epoch, held)
        accuracies[f"moving averages, an epoch behind these{kind}"] = measure(built.model, prepared)
    content = {
        "machine": described("keras", "tensorflow"),
        "experiment": name,
        "epoch": epoch,
        "validation_accuracy": accuracies,
        "norm_of_first_bias_gradient": gradients,
    }
    lines = [
        f"{name} after epoch {epoch}. {in_words(content['machine'])}.",
        "",
        "| batch norm takes | validation accuracy |",
        "|---|--:|",
        *(f"| {kind} | {value:.4f} |" for kind, value in accuracies.items()),
        "",
        "| the first convolution's bias, computed in | norm of its gradient, one batch |",
        "|---|--:|",
        *(f"| {kind} | {value:.1e} |" for kind, value in gradients.items()),
    ]
    write("batch_norm_statistics", content, "\n".join(lines) + "\n")


def fit_epoch(trainer, batches, epoch: int, held: bool) -> None:
    """Train for one epoch; where `held`, the convolutions' biases stay unchanged."""
    import keras

    biases = find_biases(trainer)
    values = [bias.numpy() for bias in biases]

    def put_back(batch, logs) -> None:
        for bias, value in zip(biases, values):
            bias.assign(value)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=put_back)
    batches.begin(epoch)
    trainer.fit(batches, shuffle=False, verbose=0, callbacks=[callback] if held else [])


def find_biases(model) -> list:
    return [
        variable
        for variable in model.trainable_variables
        if re.search(r"conv.*/bias$", variable.path)
    ]


def measure(model, prepared: Prepared) -> float:
    """The validation accuracy."""
    predicted = model.predict(np.asarray(prepared.images("validation")), BATCH, verbose=0)
    return float(np.mean(predicted.argmax(axis=1) == prepared.labels("validation")))


def estimate_statistics(model, prepared: Prepared) -> None:
    """Replace all moving averages by means over batches of training images."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    averages = [
        average for layer in layers for average in (layer.moving_mean, layer.moving_variance)
    ]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # each batch leaves its own statistics
    chosen = np.random.default_rng(0).choice(len(prepared.labels("train")), IMAGES, replace=False)
    seen = []
    for start in range(0, IMAGES, BATCH):
        model(prepared.images("train")[np.sort(chosen[start : start + BATCH])], training=True)
        seen.append([average.numpy() for average in averages])
    for variable, values in zip(averages, zip(*seen)):
        variable.assign(np.mean(values, axis=0))
    for layer, momentum in zip(layers, momenta):
        layer.momentum = momentum


def differentiate(
    experiment: Experiment, prepared: Prepared, weights: list[np.ndarray], kind: str
) -> np.ndarray:
    """The gradient of the first bias for one batch of training images, computed in `kind`."""
    import keras
    import tensorflow as tf

    from stages.training import network

    train = experiment.train.model_copy(update={"precision": kind})
    model = network.build_network(
        Experiment(
            experiment.name, experiment.seed, experiment.architecture, experiment.augment, train
        ),
        prepared,
    ).model
    for variable, value in zip(model.variables, weights):
        variable.assign(value)
    labels = prepared.labels("train")[:BATCH]
    with tf.GradientTape() as tape:
        predicted = model(prepared.images("train")[:BATCH], training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, predicted))
    return tape.gradient(loss, find_biases(model)[0].value).numpy()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
