"""Networks around networks: with auxiliary heads, in training mode, with test-time augmentation;
and heads that give logits while they are fitted.

Auxiliary heads are outputs beside the main one that help to train it (GoogLeNet: Szegedy et al.,
arXiv 1409.4842). All outputs are fitted with the same labels; training minimises the sum of their
losses, weighted. What a network is judged by, in early stopping as in the reports, is the main
output, the first.
"""

import contextlib

import keras
import numpy as np


class Trainer(keras.Model):
    """A model that is fitted with one array of labels, however many outputs it has.

    Its logs keep their names with auxiliary heads: ``accuracy``, ``loss``, ``val_accuracy`` and
    ``val_loss`` are the main output's. Added are ``auxiliary1_accuracy``, ``auxiliary1_loss`` and
    so on, and ``combined_loss``, what training minimises. With auxiliary heads Keras averages the
    loss of each over batches, whatever their size: a smaller last batch counts as much as the
    others.

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
    """Let `model`, and whatever shares its layers, give logits in place of probabilities; nothing
    changes where `when` is false.

    For the cross-entropy, which Keras otherwise computes from probabilities that it cuts off at
    1e-7, except on TensorFlow, where it looks for the logits behind them: a network that is sure of
    a wrong class then gets no gradient, and learns no more.
    """
    classifiers = [model.get_layer(name) for name in model.output_names] if when else []
    for classifier in classifiers:
        classifier.activation = keras.activations.linear
    try:
        yield
    finally:
        for classifier in classifiers:
            classifier.activation = keras.activations.softmax


class Training(keras.layers.Layer):
    """A network that always runs as in training. A layer of its own, since Keras lets `predict`
    overrule a ``training=True`` that stands in a functional model."""

    def __init__(self, network: keras.Model):
        super().__init__(dtype="float32")
        self.network = network

    def call(self, x):
        return self.network(x, training=True)


def keep_in_training_mode(model: keras.Model) -> keras.Model:
    """`model`, whose weights it shares, as a model that predicts as if it were training: dropout
    stays on, batch norm uses the batch's own mean and variance. What Keras 2 did with its learning
    phase set to 1."""
    outputs = name_outputs(model.output_names, Training(model)(model.input))
    return keras.Model(model.inputs, outputs)


def add_test_time_augmentation(model: keras.Model) -> keras.Model:
    """`model`, whose weights it shares, as a model that predicts the mean of what `model` says of
    an image and of its mirror image (left and right exchanged)."""
    image = keras.Input(model.input_shape[1:], dtype=model.input.dtype, name=model.input.name)
    both = [keras.tree.flatten(model(one)) for one in (image, keras.ops.flip(image, axis=2))]
    means = name_outputs(
        model.output_names, [keras.layers.Average(dtype="float32")(pair) for pair in zip(*both)]
    )
    return keras.Model(image, means if len(means) > 1 else means[0], name=model.name)


def name_outputs(names: list[str], outputs) -> list:
    """Give the outputs of a nested network their own `names` again: Keras names metrics by
    them."""
    return [
        keras.layers.Identity(name=name, dtype="float32")(x)
        for name, x in zip(names, keras.tree.flatten(outputs))
    ]


def name_by_part(part: str, predicted: np.ndarray | list[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one prediction under the names of predictions.npz: ``PART`` the main one,
    ``PART_auxiliary1`` and so on."""
    main, *auxiliary = predicted if isinstance(predicted, list) else [predicted]
    return {part: main} | {
        f"{part}_auxiliary{number}": one for number, one in enumerate(auxiliary, start=1)
    }
