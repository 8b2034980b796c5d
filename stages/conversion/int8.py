"""A network in 8-bit integers: smaller, and faster on processors with instructions for them (VNNI),
at some loss of accuracy. Static quantisation by ONNX Runtime: convolutions and dense layers, one
scale a channel, calibrated on training images (Jacob et al., arXiv 1712.05877)."""

import logging
from pathlib import Path

import numpy as np

CALIBRATION = 512  # training images, evenly spread over the part
BATCH = 64  # of them that are in memory at a time
OPERATIONS = ["Conv", "Gemm", "MatMul"]


def as_int8(source: Path, target: Path, images: np.ndarray) -> None:
    """Write the ONNX network in `source` as `target`, with its ranges of values measured on
    training `images`, uint8 (images, height, width, channels)."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    chosen = np.unique(np.linspace(0, len(images) - 1, CALIBRATION).astype(int))
    batches = iter(np.array_split(chosen, -(-len(chosen) // BATCH)))

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {"image": np.ascontiguousarray(images[batch])}

    logging.disable(logging.WARNING)  # it advises what the stage export did: to simplify the graph
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATIONS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
