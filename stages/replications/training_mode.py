"""Networks that predict in training mode, as Keras 2 did with its learning phase set to 1."""

import keras

from stages.training.heads import name_outputs


class TrainingModeLayer(keras.layers.Layer):
    """A layer that always runs `network` in training mode: in a functional model, `predict` would
    override a ``training=True``."""

    def __init__(self, network: keras.Model):
        super().__init__(dtype="float32")
        self.network = network

    def call(self, x):
        return self.network(x, training=True)


def keep_in_training_mode(model: keras.Model) -> keras.Model:
    """A model that shares the weights of `model` and predicts in training mode: dropout is active,
    and batch norm uses the batch's mean and variance."""
    outputs = name_outputs(model.output_names, TrainingModeLayer(model)(model.input))
    return keras.Model(model.inputs, outputs)
