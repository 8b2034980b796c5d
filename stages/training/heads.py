"""Wrappers of networks, for auxiliary heads and test-time augmentation; and heads that output
logits during fitting.

Auxiliary heads are additional outputs that help to train the main one (GoogLeNet: Szegedy et al.,
arXiv 1409.4842). All outputs are fitted to the same labels; training minimises the weighted sum of
their losses. Early stopping and the reports only consider the main output, the first.
"""

import contextlib

import keras
import numpy as np


class MultiHeadModel(keras.Model):
    """A model that is fitted with one array of labels, however many outputs it has.

    ``accuracy``, ``loss``, ``val_accuracy`` and ``val_loss`` in its logs are always the main
    output's. Auxiliary heads add ``auxiliary1_accuracy``, ``auxiliary1_loss`` and so on, and
    ``combined_loss``, which training minimises. Keras then averages the loss of each head over
    batches regardless of their size: a smaller last batch counts as much as the others.

    With `gives_logits` its outputs are logits; the metrics are still of probabilities.
    """

    gives_logits = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, [y] * len(self.outputs), y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if self.gives_logits:
            y_pred = keras.tree.map_structure(keras.ops.softmax, y_pred)
        return super().compute_metrics(x, [y] * len(self.outputs), y_pred, sample_weight)

    def get_metrics_result(self):
        logs = super().get_metrics_result()
        if len(self.outputs) == 1:
            return logs
        combined = {"combined_loss": logs.pop("loss")}
        return {
            name.removeprefix(f"{self.output_names[0]}_"): value for name, value in logs.items()
        } | combined


@contextlib.contextmanager
def giving_logits(model: keras.Model, when: bool):
    """Make `model`, and whatever shares its layers, output logits instead of probabilities, if
    `when` is true.

    For the cross-entropy: except on TensorFlow, where it finds the logits, Keras clips the
    probabilities at 1e-7, so a network that is confident of a wrong class gets no gradient and
    stops learning.
    """
    classifiers = [model.get_layer(name) for name in model.output_names] if when else []
    for classifier in classifiers:
        classifier.activation = keras.activations.linear
    try:
        yield
    finally:
        for classifier in classifiers:
            classifier.activation = keras.activations.softmax


def add_test_time_augmentation(model: keras.Model) -> keras.Model:
    """A model that shares the weights of `model` and predicts its mean output over an image and the
    horizontally flipped image."""
    image = keras.Input(model.input_shape[1:], dtype=model.input.dtype, name=model.input.name)
    both = [keras.tree.flatten(model(view)) for view in (image, keras.ops.flip(image, axis=2))]
    means = name_outputs(
        model.output_names, [keras.layers.Average(dtype="float32")(pair) for pair in zip(*both)]
    )
    return keras.Model(image, means if len(means) > 1 else means[0], name=model.name)


def name_outputs(names: list[str], outputs) -> list:
    """Restore the `names` of a nested network's outputs, after which Keras names metrics."""
    return [
        keras.layers.Identity(name=name, dtype="float32")(x)
        for name, x in zip(names, keras.tree.flatten(outputs))
    ]


def name_by_part(part: str, predicted: np.ndarray | list[np.ndarray]) -> dict[str, np.ndarray]:
    """Map the outputs of one prediction to the names of predictions.npz: ``PART`` for the main one,
    then ``PART_auxiliary1`` and so on."""
    main, *auxiliary = predicted if isinstance(predicted, list) else [predicted]
    return {part: main} | {
        f"{part}_auxiliary{number}": output for number, output in enumerate(auxiliary, start=1)
    }
