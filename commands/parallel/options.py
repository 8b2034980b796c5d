"""Command-line options that say where work runs, of the parallel run and the search (recheck has
the number of workers alone), and what both do before it runs."""

import argparse

from commands.pipeline import graph
from stages.params.schema import Params
from stages.runtime import cli
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores


def add_cluster_options(parser: argparse.ArgumentParser, workers: str) -> None:
    """Add ``--workers``, which are so many `workers` on this machine, ``--scheduler`` and
    ``--remote``."""
    parser.add_argument(
        "--workers",
        type=cli.number(int, 1),
        help=f"{workers} on this machine; default: its cores divided by train.threads",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a Dask cluster to use instead, such as tcp://10.0.0.1:8786",
    )
    parser.add_argument(
        "--remote",
        action="store_true",
        help="exchange results through DVC's default remote: no folder is shared",
    )


def prepare(workers: int | None, remote: bool, options: Params) -> int:
    """The number of workers. Raises `UserError` where results are to travel through a `remote`, and
    there is none."""
    if remote and not graph.has_remote():
        raise UserError("DVC has no default remote: `dvc remote add --default NAME URL` makes one")
    return workers or max(1, count_cores() // options.train.threads)
