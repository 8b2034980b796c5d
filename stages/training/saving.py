"""Reproducible model files: equal layers and weights give equal bytes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from stages.storage import files

DATE = (1980, 1, 1, 0, 0, 0)  # of every zip entry: the earliest that the format can express


def save(model: keras.Model, path: Path) -> None:
    """Save an uncompiled `model` as Keras does, without what would differ from save to save.

    Keras writes the date into ``metadata.json``, memory addresses into ``config.json`` (as
    ``shared_object_id``), and times into the zip archive. Here date and times are constant, and the
    ids count from 1 in order of appearance; ``keras.saving.load_model`` opens the file as usual.
    """
    with files.replacing(path) as partial:
        original = partial.with_suffix(".keras")
        try:
            model.save(original)
            rewrite(original, partial)
        finally:
            files.remove(original)


def rewrite(original: Path, path: Path) -> None:
    """Write the Keras file `original` to `path` without what would differ from save to save."""
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
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
    """Save `model`, and return it as a user of the file will load it."""
    save(model, path)
    return keras.saving.load_model(path, compile=False)


def renumber(config: Any, numbers: dict[int, int]) -> Any:
    """Replace each ``shared_object_id`` in `config` by its rank in order of appearance; `numbers`
    maps those seen so far."""
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
