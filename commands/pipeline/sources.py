"""The user's own files that the pipeline reads: data sets, and weights that networks start from."""

from collections.abc import Iterable
from pathlib import Path

from stages.params import Params
from stages.params.schema import Source
from stages.runtime import git
from stages.sources.pretrained import is_published


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
    """The sources of data sets that lie in the project and not in git: large, as photographs are,
    and read by no stage behind download."""
    paths = {one.source for one in datasets if not Path(one.source).is_absolute()}
    return sorted(path for path in paths if Path(path).exists() and not is_tracked(path))


def is_tracked(path: str) -> bool:
    """Whether git has the file `path`, or something of the folder `path`."""
    return bool(git.ask("ls-files", "--", f":(literal){path}"))


def exclude(paths: Iterable[str]) -> list[str]:
    """Pathspecs of git's for all files of the current folder but those at `paths`."""
    return [".", *(f":(exclude,literal){path}" for path in paths)]
