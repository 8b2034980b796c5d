"""TensorFlow's arithmetic where its own choice depends on who made the processor, or is slow.

**No estimates.** Some of TensorFlow's operations refine an estimate that the processor gives of a
reciprocal or of a reciprocal square root (``rcpps``, ``rsqrtps``), which AMD and Intel define each
in their own way: a third of the results are not the nearest float, and not the same ones on both.
The machine code of TensorFlow 2.21 holds these instructions in Rsqrt, Reciprocal, Erfc, Atan, LRN,
in softmax and batch norm where oneDNN does not compute them, and in some operations that no network
of Keras's uses. Keras's normalisation layers take Rsqrt, its gelu takes Erfc, gradients such as the
logarithm's take Reciprocal, and TensorFlow's graph optimizer puts the first two in place of
``a / sqrt(b)`` and ``1 / b``. Division and square root are exact on every processor (IEEE 754).

**Batch norm in one operation.** Keras 3 computes batch norm by some twenty operations. TensorFlow's
FusedBatchNormV3 does it in one, by a kernel of oneDNN's that takes the root exactly.

**Leaky ReLU's gradient from its output.** The output has the sign of the input, so the gradient is
the same, bit by bit; and nothing else then asks for the input, so that TensorFlow computes
convolution, bias and activation in one operation, as it does with ReLU.

The functions are put in place of TensorFlow's and Keras's own, rather than into layers of ours: so
networks, saved files and ``keras.applications`` hold plain Keras layers, which anyone's Keras
loads, and here all of them are computed in this way.
"""

import keras
import tensorflow as tf
from tensorflow.python.ops import math_ops  # what TensorFlow's own functions and gradients call

LEAKY_RELU = tf.nn.leaky_relu
KERAS_CALL = keras.layers.BatchNormalization.call


def use() -> None:
    """Let Keras on TensorFlow compute so, in this process."""
    # the passes that put Rsqrt and Reciprocal in place of divisions
    off = {"arithmetic_optimization": False, "constant_folding": False}
    tf.config.optimizer.set_experimental_options(off)
    for module in (tf.math, math_ops):
        module.rsqrt, module.reciprocal, module.erfc = rsqrt, reciprocal, erfc
    tf.nn.leaky_relu = leaky_relu
    keras.layers.BatchNormalization.call = batch_norm


def reciprocal(x, name=None):
    """1 / x, rounded once."""
    x = tf.convert_to_tensor(x)
    return tf.divide(tf.ones((), x.dtype), x, name)


def rsqrt(x, name=None):
    """1 / √x, the root rounded, then the quotient."""
    return reciprocal(tf.sqrt(x), name)


def erfc(x, name=None):
    """1 - erf(x). It has no more than float32's absolute precision where erfc is small, which is
    what PyTorch's and JAX's gelu have."""
    x = tf.convert_to_tensor(x)
    return tf.subtract(tf.ones((), x.dtype), tf.math.erf(x), name)


def leaky_relu(features, alpha=0.2, name=None):
    """x where x > 0, else `alpha` · x; in place of ``tf.nn.leaky_relu``."""
    if alpha < 0:
        return LEAKY_RELU(features, alpha, name)

    @tf.custom_gradient
    def compute(x):
        y = LEAKY_RELU(x, alpha, name)
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=alpha)

    return compute(features)


def batch_norm(self, inputs, training=None, mask=None):
    """``call`` of Keras's BatchNormalization, with one operation for the batch's statistics and the
    normalisation.

    Keras's definition holds: statistics in float32 in any precision, the moving variance without
    Bessel's correction, no updates where the layer is frozen. Masks, batch renormalisation,
    statistics across devices, float64 and an axis that is not the last are left to Keras.
    """
    last = self.axis in (-1, len(inputs.shape) - 1)
    if (
        mask is not None
        or self.renorm
        or self.synchronized
        or not last
        or inputs.dtype == "float64"
    ):
        return KERAS_CALL(self, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    x = tf.cast(inputs, tf.float32)
    fused = {
        "x": x if len(x.shape) == 4 else tf.reshape(x, (-1, 1, 1, channels)),
        "scale": tf.ones(channels) if self.gamma is None else tf.convert_to_tensor(self.gamma),
        "offset": tf.zeros(channels) if self.beta is None else tf.convert_to_tensor(self.beta),
        "epsilon": self.epsilon,
    }
    if training and self.trainable:
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            **fused, mean=tf.zeros(0), variance=tf.zeros(0), is_training=True
        )
        count = tf.cast(tf.size(x) // channels, tf.float32)  # of values that a channel has
        for average, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * ((count - 1) / count)),
        ):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
    else:
        y, *_ = tf.raw_ops.FusedBatchNormV3(
            **fused,
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            is_training=False,
        )
    return tf.cast(y if len(x.shape) == 4 else tf.reshape(y, tf.shape(x)), self.compute_dtype)
