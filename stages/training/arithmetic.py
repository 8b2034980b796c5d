"""Replacements for TensorFlow operations whose results depend on the processor's vendor, or that
are slow.

**No approximate instructions.** Some TensorFlow operations refine the processor's estimate of a
reciprocal or a reciprocal square root (``rcpps``, ``rsqrtps``), which AMD and Intel define
differently: a third of the results are not correctly rounded, and not the same third on both. In
TensorFlow 2.21, the machine code of Rsqrt, Reciprocal, Erfc, Atan, LRN, of softmax and batch norm
where oneDNN does not compute them, and of some operations that no Keras network uses, contains
these instructions. Keras's normalisation layers use Rsqrt, its gelu uses Erfc, gradients such as
the logarithm's use Reciprocal, and TensorFlow's graph optimizer substitutes the first two for
``a / sqrt(b)`` and ``1 / b``. Division and square root are exact on every processor (IEEE 754).

**Fused batch norm.** Keras 3 computes batch norm in some twenty operations. TensorFlow's
FusedBatchNormV3 is a single one, by a oneDNN kernel with an exact square root.

**Leaky ReLU's gradient from its output.** The output has the sign of the input, so the gradient has
the same bits; and as nothing else needs the input, TensorFlow fuses convolution, bias and
activation, as it does with ReLU.

These functions replace TensorFlow's and Keras's own rather than being layers of ours. So networks,
saved files and ``keras.applications`` contain only standard Keras layers, which load anywhere, and
all of them benefit here.
"""

import keras
import tensorflow as tf
from tensorflow.python.ops import math_ops  # what TensorFlow's own functions and gradients call

LEAKY_RELU = tf.nn.leaky_relu
KERAS_CALL = keras.layers.BatchNormalization.call


def install() -> None:
    """Replace the functions in this process."""
    # the passes that substitute Rsqrt and Reciprocal for divisions
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
    """1 / √x, rounding the root, then the quotient."""
    return reciprocal(tf.sqrt(x), name)


def erfc(x, name=None):
    """1 - erf(x). Where erfc is small, only its absolute error is small, as in PyTorch's and JAX's
    gelu."""
    x = tf.convert_to_tensor(x)
    return tf.subtract(tf.ones((), x.dtype), tf.math.erf(x), name)


def leaky_relu(features, alpha=0.2, name=None):
    """x where x > 0, else `alpha` · x, like ``tf.nn.leaky_relu``."""
    if alpha < 0:
        return LEAKY_RELU(features, alpha, name)

    @tf.custom_gradient
    def compute(x):
        y = LEAKY_RELU(x, alpha, name)
        return y, lambda dy: tf.raw_ops.LeakyReluGrad(gradients=dy, features=y, alpha=alpha)

    return compute(features)


def batch_norm(self, inputs, training=None, mask=None):
    """``call`` of Keras's BatchNormalization, with one operation for statistics and normalisation.

    As in Keras, statistics are float32 in any precision, the moving variance has no Bessel
    correction, and a frozen layer updates nothing. Masks, batch renormalisation, synchronisation
    across devices, float64 and an axis other than the last are left to Keras.
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
        count = tf.cast(tf.size(x) // channels, tf.float32)  # values per channel
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
