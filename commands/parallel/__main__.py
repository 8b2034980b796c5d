"""Run the pipeline's stages in parallel, and collect the results by a plain `dvc repro`.

Each stage instance that is out of date runs on a worker of a Dask cluster as soon as its
dependencies are done: by default processes on this machine, with --scheduler any cluster. A worker
runs it under DVC in its own clone of the working tree, with all uncommitted changes. Results are
exchanged through DVC's cache, or with --remote through its default remote. See docs/scale.md.
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from commands.parallel import records
from commands.parallel.options import add_cluster_options, choose_workers, require_remote
from commands.pipeline import graph, snapshot, sources
from commands.pipeline.process import run_dvc
from stages import params
from stages.params.fields import suggest
from stages.params.schema import Parallel
from stages.runtime import cli, guard
from stages.runtime.errors import UserError
from stages.runtime.text import join_names

if TYPE_CHECKING:
    from commands.parallel.dispatch import Dispatch

SCRATCH = Path(".dvc/tmp/parallel")  # git ignores it


def collect(targets: list[str], pull: list[str]) -> None:
    """Run a plain `dvc repro` in the working tree, which finds all results in the run-cache, and
    write the files beside them that DVC does not track."""
    print("Collecting by `dvc repro`:", flush=True)
    status = run_dvc("repro", *pull, *targets)
    records.restore()
    if status:
        raise UserError("`dvc repro` failed: see above")


def run(
    targets: list[str], workers: int, scheduler: str | None, remote: bool, options: params.Params
) -> None:
    plan = graph.read_plan(targets)
    check_names(plan, options.parallel)
    check_here(plan, options.parallel)
    failed = []
    pull = ["--pull"] if remote else []
    if first := plan.list_to_run(options.parallel.here):
        run_dvc("repro", "--single-item", "--keep-going", *pull, *first)
        plan = graph.read_plan(targets)
        failed = [
            f"{address} failed, in the working tree: see above"
            for address in plan.list_to_run(options.parallel.here)
        ]
    to_run = plan.list_remote(options.parallel.here)
    done = []
    if to_run:
        untracked = sources.find_untracked(options)
        content = snapshot.write_tree(untracked)
        dispatch = run_on_cluster(plan, to_run, content, workers, scheduler, remote, options)
        done = dispatch.done
        failed += [f"{address} {failure}" for address, failure in dispatch.failed.items()]
        if dispatch.waiting:
            failed.append(f"not run because of that: {', '.join(dispatch.waiting)}")
        if changed := snapshot.list_changed_files(content, snapshot.write_tree(untracked)):
            failed.append(
                f"files changed meanwhile ({join_names(changed)}): the results are in the cache, "
                "and `dvc repro` uses those that still fit"
            )
            done = []  # nothing to collect
    if done or not failed:
        collect(done if failed else targets, pull)
    if failed:
        raise UserError("\n       ".join(failed))


def check_names(plan: graph.Plan, options: Parallel) -> None:
    """Raise `UserError` if `parallel` in ``params.yaml`` names an unknown stage: `resources` has
    addresses, `beyond` and `here` have bare names."""
    names = sorted({address.split(":")[-1] for address in plan.stages})
    for address in options.resources:
        if address.split("@")[0] not in plan.stages:
            raise UserError(
                f"params.yaml: parallel.resources: {address!r} is not a stage, with its "
                f"file, or an instance of one. {suggest(address, plan.stages)}"
            )
    for key in ("beyond", "here"):
        for name in getattr(options, key):
            if name not in names:
                raise UserError(
                    f"params.yaml: parallel.{key}: {name!r} is not the name of a stage, without "
                    f"file and instance. {suggest(name, names)}"
                )


def check_here(plan: graph.Plan, options: Parallel) -> None:
    """Raise `UserError` if a stage of `parallel.here` depends on one that is not there, which would
    run after it."""
    for instance in plan.instances.values():
        for needed in (plan.instances[address].bare_name for address in instance.upstream):
            if instance.bare_name in options.here and needed not in options.here:
                raise UserError(
                    f"params.yaml: parallel.here: {instance.bare_name} depends on {needed}, which "
                    f"is not listed and would run after it. List {needed} too, or leave out "
                    f"{instance.bare_name}"
                )


def run_on_cluster(
    plan: graph.Plan,
    to_run: list[str],
    content: str,
    workers: int,
    scheduler: str | None,
    remote: bool,
    options: params.Params,
) -> "Dispatch":
    """Run the instances `to_run` on a cluster, with the tree `content`."""
    from commands.parallel import cluster
    from commands.parallel.dispatch import Dispatch
    from commands.parallel.progress import Display

    started, dispatch = time.monotonic(), Dispatch(plan, to_run, options.parallel, remote)
    try:
        with (
            cluster.connect(scheduler, workers, SCRATCH.absolute()) as client,
            Display(len(to_run), SCRATCH / "logs") as display,
        ):
            if lack := dispatch.describe_lack(client):
                if not scheduler:
                    raise UserError(
                        f"params.yaml: parallel.resources: {lack}. With fewer --workers, each has "
                        "more"
                    )
                display.say(f"{lack}: waiting for such a worker")
            dispatch.run(client, content, display)
    except (KeyboardInterrupt, SystemExit):
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                "\nFinished results are in the cache: the next run, or `dvc repro`, uses them.",
                file=sys.stderr,
            )
        raise
    print(
        f"{len(dispatch.done)} of {len(to_run)} stages done in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return dispatch


def main(targets: list[str], workers: int | None, scheduler: str | None, remote: bool) -> None:
    cli.exit_on_signals()
    cli.require_project()
    options = params.load()
    if remote:
        require_remote()
    with guard.hold(SCRATCH / "lock", "commands.parallel"):
        run(targets, choose_workers(workers, options), scheduler, remote, options)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets",
        nargs="*",
        help="targets as for `dvc repro`: stages or a dvc.yaml (default: the root pipeline)",
    )
    add_cluster_options(parser, "processes")


if __name__ == "__main__":
    cli.run(main, __doc__, options=add_options)
