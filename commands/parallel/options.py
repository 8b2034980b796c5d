"""Command-line options for where work runs, shared by the parallel run, the search and recheck
(which has only the number of workers), and what they stand for."""

import argparse

from dvc.config_schema import RelPath
from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.params.schema import Params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores

MAX_WORKERS = 1024  # each is a process


def add_cluster_options(parser: argparse.ArgumentParser, workers: str) -> None:
    """Add ``--workers``, described as `workers` on this machine, ``--scheduler`` and
    ``--remote``."""
    add_workers_option(parser, f"{workers} on this machine")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask cluster to use instead, such as tcp://10.0.0.1:8786",
    )
    parser.add_argument(
        "--remote",
        action="store_true",
        help="exchange results through DVC's default remote, if no folder is shared",
    )


def add_workers_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--workers``, described as `what`; `choose_workers` takes its value."""
    parser.add_argument(
        "--workers",
        type=cli.number_between(int, 1, MAX_WORKERS),
        help=f"{what} (default: the cores divided by train.threads)",
    )


def choose_workers(asked: int | None, options: Params) -> int:
    """The number of workers `asked` for, else as many as have a core for each of their threads."""
    return asked or max(1, count_cores() // options.train.threads)


def find_remote() -> str | None:
    """The URL of the default remote in ``.dvc/config``, which clones of the working tree have too;
    None if there is none. DVC's type for a relative path is `dvc.config_schema.RelPath`. Raises
    `UserError` if DVC cannot read its configuration."""
    try:
        with Repo() as repo:
            config = repo.config.load_one("repo")
    except DvcException as error:
        raise UserError(f"DVC cannot read its configuration: {error}") from None
    name = config["core"].get("remote", "").lower()  # as DVC reads the section's
    return config["remote"].get(name, {}).get("url")


def require_remote() -> None:
    """Raise `UserError` unless there is a remote through which workers can exchange results."""
    url = find_remote()
    if not url:
        raise UserError(
            "there is no default remote in .dvc/config, the configuration that workers have too: "
            "add one by `dvc remote add --default NAME URL`"
        )
    if isinstance(url, RelPath):
        raise UserError(
            "the default remote in .dvc/config is a relative path, which is another folder for "
            "each worker: give it an absolute one by `dvc remote modify NAME url /…`"
        )
