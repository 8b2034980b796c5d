"""Find the user's own files that the pipeline reads: data sets, and weights to start from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from stages.params import Params
from stages.params.names import is_published
from stages.runtime import git
from stages.runtime.errors import UserError


def find_sources(options: Params) -> dict[str, str]:
    """The paths that a run reads, by their keys in ``params.yaml``: the data set's source, and the
    weights that models start from, unless Keras publishes them."""
    key = f"datasets.{options.dataset}.source"
    paths = {key: options.datasets[options.dataset].source}
    for model in options.models:
        weights = options.architectures[model].pretrained
        if weights and not is_published(weights):
            paths[f"architectures.{model}.weights"] = weights
    return paths


def require(options: Params, is_there: Callable[[str], bool]) -> None:
    """Raise `UserError` if a file that the run reads is missing in the folder where it is repeated;
    `is_there` tells by its path whether it exists."""
    for key, path in find_sources(options).items():
        if is_there(path):
            continue
        if Path(path).is_absolute():
            raise UserError(f"params.yaml: {key}: {path!r} is missing on this machine")
        raise UserError(
            f"params.yaml: {key}: this runs in a separate folder, which lacks {path!r} because it "
            "is not in git. Give it as an absolute path, run `dvc repro`, and commit"
        )


def find_untracked(options: Params) -> list[str]:
    """The paths of all data sets and weights in ``params.yaml``, used or not, that git neither
    tracks nor ignores. They may be large, as photographs are, and only the stages download and
    weights read them."""
    sources = [dataset.source for dataset in options.datasets.values()]
    weights = [architecture.pretrained for architecture in options.architectures.values()]
    own = [path for path in weights if path and not is_published(path)]
    return choose_untracked(sources + own)


def choose_untracked(paths: Iterable[str]) -> list[str]:
    """The `paths` in the project that git neither tracks nor ignores, relative to its folder."""
    here = Path.cwd().resolve()
    absolute = (Path(path).absolute() for path in paths)
    relative = {os.path.relpath(path.parent.resolve() / path.name, here) for path in absolute}
    return sorted(path for path in relative if is_new(path) and not is_tracked(path))


def is_new(path: str) -> bool:
    """Whether ``git add`` would add the file `path`, or anything in the folder `path`."""
    options = ("--others", "--exclude-standard", "--directory")
    return bool(git.ask("ls-files", *options, "--", f":(literal){path}"))


def is_tracked(path: str) -> bool:
    """Whether git tracks the file `path`, or anything in the folder `path`."""
    return bool(git.ask("ls-files", "--", f":(literal){path}"))


def exclude(paths: Iterable[str]) -> list[str]:
    """Git pathspecs for all files in the current folder except those at `paths`."""
    return [".", *(f":(exclude,literal){path}" for path in paths)]
