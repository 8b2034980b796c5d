"""The user's own files that the pipeline reads: data sets, and weights that networks start from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from stages.params import Params
from stages.params.names import is_published
from stages.runtime import git
from stages.runtime.errors import UserError


def find_sources(options: Params) -> dict[str, str]:
    """The paths of what a run reads, by their keys in ``params.yaml``: the data set's source, and
    the weights that models start from, where they are not published ones."""
    key = f"datasets.{options.dataset}.source"
    found = {key: options.datasets[options.dataset].source}
    for model in options.models:
        weights = options.architectures[model].pretrained
        if weights and not is_published(weights):
            found[f"architectures.{model}.weights"] = weights
    return found


def require(options: Params, is_there: Callable[[str], bool]) -> None:
    """Raises `UserError` where the folder in which a run is repeated lacks what it reads."""
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
    """The paths of data sets and weights in ``params.yaml``, also of those that no run reads now,
    that git neither has nor ignores: they may be large, as photographs are, and no stage behind
    download and weights reads them."""
    weights = [one.pretrained for one in options.architectures.values()]
    sources = [one.source for one in options.datasets.values()]
    return choose_untracked(sources + [one for one in weights if one and not is_published(one)])


def choose_untracked(paths: Iterable[str]) -> list[str]:
    """Those of `paths` that lie in the project, relative to its folder, and that git neither has
    nor ignores."""
    here = Path.cwd().resolve()
    where = (Path(path).absolute() for path in paths)
    relative = {os.path.relpath(one.parent.resolve() / one.name, here) for one in where}
    return sorted(path for path in relative if is_new(path) and not is_tracked(path))


def is_new(path: str) -> bool:
    """Whether ``git add`` would take the file `path`, or something of the folder `path`."""
    options = ("--others", "--exclude-standard", "--directory")
    return bool(git.ask("ls-files", *options, "--", f":(literal){path}"))


def is_tracked(path: str) -> bool:
    """Whether git has the file `path`, or something of the folder `path`."""
    return bool(git.ask("ls-files", "--", f":(literal){path}"))


def exclude(paths: Iterable[str]) -> list[str]:
    """Pathspecs of git's for all files of the current folder but those at `paths`."""
    return [".", *(f":(exclude,literal){path}" for path in paths)]
