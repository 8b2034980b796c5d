"""Files whose bytes depend on the model alone: equal weights and layers give equal files."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from stages.storage import files

DATE = (1980, 1, 1, 0, 0, 0)  # the first that the zip format knows, for every entry


def save(model: keras.Model, path: Path) -> None:
    """Save an uncompiled `model` as Keras does, without what differs from one save to the next.

    Keras writes the date into ``metadata.json``, addresses in memory into ``config.json`` (as
    ``shared_object_id``), and the time into the zip archive. Here the date is a constant, the ids
    count from 1 in the order in which they appear, and the archive's times are constant;
    ``keras.saving.load_model`` opens it like any other.
    """
    with files.replacing(path) as partial:
        as_keras = partial.with_suffix(".keras")
        try:
            model.save(as_keras)
            rewrite(as_keras, partial)
        finally:
            files.remove(as_keras)


def rewrite(as_keras: Path, path: Path) -> None:
    """Write to `path` the Keras file `as_keras` without what differs from one save to the next."""
    with zipfile.ZipFile(as_keras) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps(
                    {**json.loads(content), "date_saved": "1980-01-01@00:00:00"}
                ).encode()
            elif name == "config.json":
                content = json.dumps(renumber(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name, DATE), content)


def save_and_load(model: keras.Model, path: Path) -> keras.Model:
    """Save `model`, and give what a user of the file will load."""
    save(model, path)
    return keras.saving.load_model(path, compile=False)


def save_state(optimizer: keras.Optimizer, path: Path) -> None:
    """Write what an optimizer has gathered: its step count and moments. The learning rate is not
    among that: it is a parameter."""
    files.write_npz(path, *(np.asarray(variable) for variable in list_state(optimizer)))


def load_state(optimizer: keras.Optimizer, path: Path) -> None:
    """Give a built optimizer of the same kind what `save_state` wrote."""
    with np.load(path, allow_pickle=False) as file:
        for number, variable in enumerate(list_state(optimizer)):
            variable.assign(file[f"arr_{number}"])


def list_state(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """The variables of an optimizer without its learning rate."""
    return [variable for variable in optimizer.variables if variable.name != "learning_rate"]


def renumber(config: Any, numbers: dict[int, int]) -> Any:
    """`config` with each ``shared_object_id`` replaced by its number in the order of appearance."""
    if isinstance(config, list):
        return [renumber(value, numbers) for value in config]
    if isinstance(config, dict):
        return {
            key: numbers.setdefault(value, len(numbers) + 1)
            if key == "shared_object_id"
            else renumber(value, numbers)
            for key, value in config.items()
        }
    return config
