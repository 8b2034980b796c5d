"""The user's own files that the pipeline reads: data sets, and weights that networks start from."""

from collections.abc import Iterable
from pathlib import Path

from stages.params import Params
from stages.params.names import is_published
from stages.params.schema import Source
from stages.runtime import git


def find_sources(options: Params) -> dict[str, str]:
    """The paths of what a run reads, by their keys in ``params.yaml``: the data set's source, and
    the weights that models start from, where they are not published ones."""
    key = f"datasets.{options.dataset}.source"
    found = {key: options.datasets[options.dataset].source}
    for model in options.models:
        weights = getattr(options.architectures[model], "weights", None)
        if weights and not is_published(weights):
            found[f"architectures.{model}.weights"] = weights
    return found


def find_untracked(datasets: Iterable[Source]) -> list[str]:
    """The sources of data sets that lie in the project, and that git neither has nor ignores: they
    may be large, as photographs are, and no stage behind download reads them."""
    paths = {one.source for one in datasets if not Path(one.source).is_absolute()}
    return sorted(path for path in paths if is_new(path) and not is_tracked(path))


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
