"""What two trainings computed, compared bit by bit.

Files are compared by what they hold, not by their bytes: a ``model.keras`` also holds names and
versions, which a change of code may change without changing a result.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from stages.storage import files

# of training.json: size and digest of a file, and names of layers, may differ with equal results
NOT_COMPARED = ("file", "layers")


def collect_files(folder: Path, outs: tuple[str, ...]) -> dict[str, Path]:
    """The files that a training wrote in `folder`, by their names within its outputs, so that
    outputs which moved are found again: ``model.keras``, or ``seed-1/model.keras``."""
    found = {}
    for out in outs:
        path = folder / out
        if path.is_dir():
            found |= {
                file.relative_to(path).as_posix(): file
                for file in path.rglob("*")
                if file.is_file()
            }
        elif path.is_file():
            found[path.name] = path
    return found


def compare(old: dict[str, Path], new: dict[str, Path]) -> list[str]:
    """The differences in words; empty where both computed the same bits.

    Each file of numbers that the old code wrote must be there, with equal content. What the new
    code writes beyond that is no difference; `find_additions` names it.
    """
    if not any(name.endswith(".keras") for name in old):
        return ["the old code wrote no model: there is nothing to compare"]
    differences = []
    for name, path in sorted(old.items()):
        read = find_reader(name)
        if read is None:
            continue
        if name not in new:
            differences.append(f"{name}: only the old code writes it")
            continue
        mine, other = read(path), read(new[name])
        if name.endswith(".keras"):
            mine, other = match_arrays(mine, other)
        for key, value in mine.items():
            if key not in other:
                differences.append(f"{name}: {key}: only the old code has it")
            elif what := describe_difference(value, other[key]):
                differences.append(f"{name}: {key}: {what}")
        if name.endswith(".keras"):
            differences += [
                f"{name}: {key}: only the new code has it" for key in other.keys() - mine.keys()
            ]
    return differences


def find_additions(old: dict[str, Path], new: dict[str, Path]) -> list[str]:
    """What the new code writes beyond the old: columns and keys of files that both write."""
    additions = []
    for name in sorted(old.keys() & new.keys()):
        if name.endswith(("training.json", ".csv", ".npz")):
            before, now = (
                {key.split(".")[0] for key in find_reader(name)(side[name])} for side in (old, new)
            )
            additions += [f"{name}: {key}" for key in sorted(now - before)]
    return additions


def find_reader(name: str):
    """The function that reads the numbers of a file into arrays by their names; None for a file
    whose numbers are not compared."""
    readers = {
        "training.json": read_description,
        ".keras": read_weights,
        ".npz": read_archive,
        ".csv": read_table,
    }
    return next((read for end, read in readers.items() if name.endswith(end)), None)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Every variable of a ``.keras`` file: weights, moving statistics, states of random
    generators."""
    arrays = {}
    with (
        zipfile.ZipFile(path) as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights,
    ):

        def keep(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]

        weights.visititems(keep)
    return arrays


def read_archive(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a table, as text: all digits count."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {f"column {name}": table[name].to_numpy(dtype=str) for name in table}


def read_description(path: Path) -> dict[str, np.ndarray]:
    """What stands in a ``training.json``, as text by keys such as ``train.batch_size``."""

    def flatten(value: Any, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
        if isinstance(value, dict) and value:
            parts = (flatten(one, (*keys, key)) for key, one in value.items())
            return {key: one for part in parts for key, one in part.items()}
        return {".".join(keys): np.array(str(value))}

    content = files.read_json(path)
    return flatten({key: content[key] for key in content if key not in NOT_COMPARED}, ())


def match_arrays(
    old: dict[str, np.ndarray], new: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both, without the arrays that have other names now and equal content: a class of layers that
    was renamed. Predictions, which are compared too, show whether they take the same places."""
    gone, come = dict(old), dict(new)
    for name in old.keys() - new.keys():
        for other in come.keys() - old.keys():
            if not describe_difference(old[name], come[other]):
                del gone[name], come[other]
                break
    return gone, come


def describe_difference(old: np.ndarray, new: np.ndarray) -> str:
    """In words, how two arrays differ in a bit; empty where they do not."""
    old, new = np.asarray(old), np.asarray(new)
    if old.shape != new.shape:
        return f"shape {new.shape} instead of {old.shape}"
    if old.dtype.kind == "U" == new.dtype.kind:
        places = np.argwhere(np.atleast_1d(old != new))
    elif old.dtype != new.dtype:
        return f"type {new.dtype} instead of {old.dtype}"
    else:
        places = np.argwhere(np.atleast_1d(differs(old, new)))
    if not len(places):
        return ""
    first = tuple(places[0].tolist()) if old.shape else ()
    where = f"at {list(first)} " if first else ""
    return (
        f"{len(places)} of {old.size} values differ, the first {where}is "
        f"{new[first]} instead of {old[first]}"
    )


def differs(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Which values differ in a bit, bool of the arrays' shape: NaN equals NaN, 0.0 is not -0.0."""
    size = old.dtype.itemsize
    one, other = (
        np.frombuffer(array.tobytes(), np.uint8).reshape(*array.shape, size) for array in (old, new)
    )
    return (one != other).any(axis=-1)
