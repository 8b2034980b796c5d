"""The state of an optimizer in a file, for an experiment that continues another's training."""

from pathlib import Path

import keras
import numpy as np

from stages.storage import files


def save(optimizer: keras.Optimizer, path: Path) -> None:
    """Write an optimizer's state: its step count and moments. The learning rate is omitted, since
    it is a hyperparameter."""
    state = enumerate(list_variables(optimizer))
    files.write_npz(path, **{f"arr_{number}": np.asarray(variable) for number, variable in state})


def load(optimizer: keras.Optimizer, path: Path) -> None:
    """Load what `save` wrote into a built optimizer of the same kind."""
    with np.load(path, allow_pickle=False) as file:
        for number, variable in enumerate(list_variables(optimizer)):
            variable.assign(file[f"arr_{number}"])


def list_variables(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """The variables of an optimizer except its learning rate."""
    return [variable for variable in optimizer.variables if variable.name != "learning_rate"]
