"""Quantisation of a network to 8-bit integers: smaller, and faster on processors with VNNI, at some
loss of accuracy. Static quantisation by ONNX Runtime: convolutions and dense layers, one scale per
channel, calibrated on training images (Jacob et al., arXiv 1712.05877)."""

import logging
from pathlib import Path

import numpy as np

CALIBRATION = 512  # evenly spaced training images
BATCH = 64  # of these images, in memory at a time
OPERATIONS = ["Conv", "Gemm", "MatMul"]


def quantise(source: Path, target: Path, images: np.ndarray) -> None:
    """Quantise the ONNX network in `source` and write it to `target`. The ranges of its activations
    are measured on training `images`, uint8 (images, height, width, channels)."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    indices = np.unique(np.linspace(0, len(images) - 1, CALIBRATION).astype(int))
    batches = iter(np.array_split(indices, -(-len(indices) // BATCH)))

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {"image": np.ascontiguousarray(images[batch])}

    logging.disable(logging.WARNING)  # advice to simplify the graph, which was done
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATIONS,
            per_channel=True,
            # weights of 7 bits: with 8, sums of two products overflow 16 bits on processors
            # without VNNI, and predictions there would differ
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
