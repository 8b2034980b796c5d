"""The state of a training in its checkpoint, read without Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_state(file: Path) -> dict[str, Any] | None:
    """The state in a checkpoint without its arrays: fingerprint, history, finished, seconds and
    more; None if it is missing or damaged. Only the training can tell whether it matches."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return json.loads(str(content["state"]))
    except MemoryError:
        raise
    except Exception:  # a truncated or overwritten file may raise anything
        return None
