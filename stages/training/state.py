"""What a checkpoint says of a training, read without Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_state(file: Path) -> dict[str, Any] | None:
    """What a checkpoint says without its arrays: fingerprint, history, finished, seconds; None
    where there is none, or it is damaged. Whether it fits, only the training can tell."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return json.loads(str(content["state"]))
    except MemoryError:
        raise
    except Exception:  # one that was cut short or overwritten fails in any way
        return None
