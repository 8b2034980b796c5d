"""Command-line options for where work runs, shared by the parallel run and the search (recheck only
has the number of workers), and their preparation."""

import argparse

from commands.pipeline import graph
from stages.params.schema import Params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores


def add_cluster_options(parser: argparse.ArgumentParser, workers: str) -> None:
    """Add ``--workers``, described as `workers` on this machine, ``--scheduler`` and
    ``--remote``."""
    parser.add_argument(
        "--workers",
        type=cli.number(int, 1),
        help=f"{workers} on this machine (default: its cores divided by train.threads)",
    )
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


def prepare(workers: int | None, remote: bool, options: Params) -> int:
    """The number of workers. Raises `UserError` if results are to be exchanged through a `remote`,
    but there is none."""
    if remote and not graph.has_remote():
        raise UserError(
            "there is no default remote in .dvc/config, the configuration that workers have too: "
            "add one by `dvc remote add --default NAME URL`"
        )
    return workers or max(1, count_cores() // options.train.threads)
