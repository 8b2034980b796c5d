"""Compare the results of two trainings bit by bit.

Files are compared by their numbers, not by their bytes: a ``model.keras`` also holds names and
versions, which new code may change without changing a result.
"""

import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from stages.storage import files

# in training.json: size and digest of a file, and names of layers, may differ with equal results
NOT_COMPARED = ("file", "layers")


def collect_files(folder: Path, outs: Iterable[str]) -> dict[str, Path]:
    """The files that a training wrote in `folder`, by their names within its outputs, such as
    ``model.keras`` or ``seed-1/model.keras``, so that outputs may have moved."""
    paths = {}
    for out in outs:
        path = folder / out
        if path.is_dir():
            paths |= {
                file.relative_to(path).as_posix(): file
                for file in path.rglob("*")
                if file.is_file()
            }
        elif path.is_file():
            paths[path.name] = path
    return paths


def compare(old: dict[str, Path], new: dict[str, Path]) -> list[str]:
    """The differences in words; empty if both computed the same bits.

    Each file of numbers that the old code wrote must exist, with equal content. What the new code
    writes in addition is no difference; `find_additions` names it.
    """
    if not any(name.endswith(".keras") for name in old):
        return ["the old code wrote no model: there is nothing to compare"]
    return [
        f"{name}: {difference}"
        for name, path in sorted(old.items())
        for difference in compare_files(path, new.get(name))
    ]


def compare_files(old: Path, new: Path | None) -> list[str]:
    """The differences of two files of the same name; none if such files are not compared."""
    read, is_model = find_reader(old.name), old.suffix == ".keras"
    if read is None:
        return []
    if new is None:
        return ["only the old code writes it"]
    before, after = read(old), read(new)
    if is_model:
        before, after = match_arrays(before, after)
    differences = []
    for key, array in before.items():
        if key not in after:
            differences.append(f"{key}: only the old code has it")
        elif difference := describe_difference(array, after[key]):
            differences.append(f"{key}: {difference}")
    if is_model:
        differences += [f"{key}: only the new code has it" for key in after.keys() - before.keys()]
    return differences


def find_additions(old: dict[str, Path], new: dict[str, Path]) -> list[str]:
    """What only the new code writes: columns and keys in files that both write."""
    additions = []
    for name in sorted(old.keys() & new.keys()):
        if name.endswith(("training.json", ".csv", ".npz")):
            before, after = (
                {key.split(".")[0] for key in find_reader(name)(side[name])} for side in (old, new)
            )
            additions += [f"{name}: {key}" for key in sorted(after - before)]
    return additions


def find_reader(name: str) -> Callable[[Path], dict[str, np.ndarray]] | None:
    """The function that reads a file's numbers as named arrays; None for a file that is not
    compared."""
    readers = {
        "training.json": read_description,
        ".keras": read_weights,
        ".npz": read_archive,
        ".csv": read_table,
    }
    return next((read for suffix, read in readers.items() if name.endswith(suffix)), None)


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
    """The columns of a table, as text, so that all digits count."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {f"column {name}": table[name].to_numpy(dtype=str) for name in table}


def read_description(path: Path) -> dict[str, np.ndarray]:
    """The content of a ``training.json``, as text by dotted keys such as ``train.batch_size``."""

    def flatten(value: Any, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
        if isinstance(value, dict) and value:
            parts = (flatten(child, (*keys, key)) for key, child in value.items())
            return {key: text for part in parts for key, text in part.items()}
        return {".".join(keys): np.array(str(value))}

    content = files.read_json(path)
    return flatten({key: content[key] for key in content if key not in NOT_COMPARED}, ())


def match_arrays(
    old: dict[str, np.ndarray], new: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both, without arrays of equal content under different names, as after renaming a layer class.
    The predictions, which are compared too, show whether they serve the same purpose."""
    left_old, left_new = dict(old), dict(new)
    for name in old.keys() - new.keys():
        for new_name in left_new.keys() - old.keys():
            if not describe_difference(old[name], left_new[new_name]):
                del left_old[name], left_new[new_name]
                break
    return left_old, left_new


def describe_difference(old: np.ndarray, new: np.ndarray) -> str:
    """How two arrays differ, in words; empty if all bits are equal."""
    old, new = np.asarray(old), np.asarray(new)
    if old.shape != new.shape:
        return f"shape {new.shape} instead of {old.shape}"
    if old.dtype.kind == "U" == new.dtype.kind:
        places = np.argwhere(np.atleast_1d(old != new))
    elif old.dtype != new.dtype:
        return f"type {new.dtype} instead of {old.dtype}"
    else:  # all bits count: NaN equals NaN, 0.0 is not -0.0
        raw = f"V{old.dtype.itemsize}"
        places = np.argwhere(np.atleast_1d(old.view(raw) != new.view(raw)))
    if not len(places):
        return ""
    first = tuple(places[0].tolist()) if old.shape else ()
    where = f"at {list(first)} " if first else ""
    return (
        f"{len(places)} of {old.size} values differ, the first {where}is "
        f"{new[first]} instead of {old[first]}"
    )
