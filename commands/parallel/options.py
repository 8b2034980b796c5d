"""Command-line options that say where work runs: of the parallel run and the search; recheck has
the number of workers alone."""

import argparse


def at_least_one(text: str) -> int:
    """The type of a number of workers."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("it takes one worker or more")
    return int(text)


def add_cluster_options(parser: argparse.ArgumentParser, workers: str) -> None:
    """Add ``--workers``, which are so many `workers` on this machine, ``--scheduler`` and
    ``--remote``."""
    parser.add_argument(
        "--workers",
        type=at_least_one,
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
