"""Search hyperparameters: run or resume the study that searches/NAME.yaml describes.

Each trial trains one model with the pipeline's own stages, in a clone on a worker; Optuna suggests
the values and prunes hopeless trials while they train. Each complete trial is kept as the DVC
experiment NAME-NUMBER. Trials are judged on validation data; at the end the best one is compared
on new seeds with params.yaml as it is, and evaluated on the test set only if it is better.

Writes searches/NAME/index.html and trials.csv. Stop it whenever you like: the next start resumes
it. See docs/search.md.
"""

import argparse
import contextlib
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from commands.parallel.options import add_cluster_options, choose_workers, require_remote
from commands.pipeline import sources
from commands.searching import reading, routes
from commands.searching.schema import Search
from stages import params
from stages.runtime import cli, guard, inputs
from stages.runtime.errors import UserError
from stages.storage import files

if TYPE_CHECKING:
    import optuna

    from commands.searching.trainings import Trainings

SCRATCH = Path(".dvc/tmp/search")  # git ignores it
DATABASE = SCRATCH / "studies.db"


def main(name: str, workers: int | None, scheduler: str | None, remote: bool, anew: bool) -> None:
    cli.exit_on_signals()
    cli.require_project()
    search, options, parameters = reading.load(name)
    if remote:
        require_remote()
    count = choose_workers(workers, options)
    with guard.hold(SCRATCH / "lock", "commands.search"):
        run(name, search, options, parameters, count, scheduler, remote, anew)


def forget(name: str) -> None:
    """Delete a study: its trials, experiments, kept checkpoints, logs and page."""
    from commands.searching import experiments, studies

    own = studies.list_saved(studies.find_study(name, DATABASE))
    experiments.remove(own, experiments.find_named_after(name))
    studies.delete_study(name, DATABASE)  # after its experiments: without it they are another's
    files.remove(SCRATCH / "kept" / name)
    for log in (SCRATCH / "logs").glob("*.log"):
        if experiments.belongs_to(name, log.stem):
            files.remove(log)
    files.remove(reading.FOLDER / name)


def run(
    name: str,
    search: Search,
    options: params.Params,
    parameters: str,
    workers: int,
    scheduler: str | None,
    remote: bool,
    anew: bool,
) -> None:
    """Run the search on a cluster, confirm the best trial, and write the page; `anew`: delete the
    study so far as soon as nothing but the trials can fail. The trials start from `options`;
    `parameters` is the text of their file, which may change in the meantime. Raises `UserError` if
    the search cannot run or fails."""
    from commands.parallel import cluster, exchange, provision
    from commands.searching import experiments, studies
    from commands.searching.running import Runner
    from commands.searching.trainings import Trainings

    begun = studies.find_study(name, DATABASE)
    experiments.refuse_others(name, studies.list_saved(begun), experiments.find_named_after(name))
    target, keys = f"train@{search.model}", list(search.space)
    plan = routes.bring_up_to_date(target, remote)
    inputs.check_prepared(options)  # params.yaml may have changed while the data were made
    refuse_odd_validation()
    route, seeded_route = (
        routes.find_route(plan, target, changed) for changed in (keys, [*keys, "seed"])
    )
    base = experiments.read_base(parameters, sources.find_untracked(options))
    bound_to = studies.bind(search, routes.describe_base(route, keys, base.values))
    if begun and not anew:
        studies.check_bound(begun, bound_to)
    environment = provision.remember_environment()  # before Dask changes it
    exchange.share_all({*route.given, *seeded_route.given}, remote)
    kept, logs, scratch = SCRATCH / "kept" / name, SCRATCH / "logs", SCRATCH / "workers"
    with cluster.connect(scheduler, workers, scratch.absolute()) as client:
        runner = Runner(
            client,
            f"search-{uuid.uuid4().hex[:12]}",
            search.model,
            provision.find_needs(options.parallel, target),
            remote,
            kept.absolute(),
            logs,
        )
        trainings = Trainings(name, search, runner, base, route, seeded_route)
        with provision.provide_clones(
            client, runner.name, base.content, remote, environment, runner.handle_message
        ):
            if anew:
                runner.check_workers()
                forget(name)  # not before: everything above may refuse to search
            for folder in (kept, logs):
                folder.mkdir(parents=True, exist_ok=True)
            study = studies.open_study(name, search, bound_to, options.seed, DATABASE)
            carry_out(study, trainings, options.review.false_alarm_rate)
    if not studies.list_unfinished(study):
        files.remove(kept)  # checkpoints of pruned trials: nothing resumes from them any more


def carry_out(study: "optuna.Study", trainings: "Trainings", rate: float) -> None:
    """Run the trials, confirm the best one at the false alarm rate `rate`, and write the page. If
    the search fails or is stopped, stop the trainings and write a page of what there is."""
    from commands.searching import confirmation, page, studies
    from commands.searching.campaign import Campaign

    name, search = trainings.name, trainings.search
    try:
        Campaign(study, trainings).run()
        confirmed = confirmation.confirm(study, trainings, rate)
        if confirmed and confirmed.word == confirmation.BETTER:
            confirmation.look_at_test(study, trainings, confirmed.trial)
    except BaseException:
        trainings.runner.stop_all()
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"progress is kept: `python -m commands.search {name}` continues", file=sys.stderr
            )
        with contextlib.suppress(Exception):  # the first error is the one to tell
            page.write(study, search, confirmation.read_confirmation(study, trainings, rate))
        raise
    pull = " --pull" if trainings.runner.remote else ""
    written, best = page.write(study, search, confirmed), studies.find_best(study)
    if unfinished := studies.list_unfinished(study):
        print(f"unfinished trials: {len(unfinished)}; the next start continues them")
    if best is None:
        raise UserError(f"no trial is complete: see {written} for each one's outcome")
    print(f"best: trial {best.number}, {search.objective} {best.value:.4f}")
    if confirmed:
        print(f"against params.yaml as it is, on new seeds: {confirmed.word} ({confirmed.basis})")
    elif search.confirm_seeds:
        print("its values are those of params.yaml: there is nothing to confirm")
    if test := confirmation.read_test(study, best.number):
        print(f"test accuracy: {test['accuracy']:.4f} ± {test['standard_error']:.4f}")
    print(f"See all trials:  {written.resolve().as_uri()}")
    print(f"Take the best:   dvc exp apply {name}-{best.number}, and then dvc repro{pull}")


def refuse_odd_validation() -> None:
    """Raise `UserError` if the validation images are those of another part: each trial would be
    judged on its own training images, or on the test set."""
    data = files.read_json(inputs.PREPARED_DESCRIPTION)
    for part in ("test", "training"):
        if data[f"validation_is_{part}"]:
            raise UserError(
                f"params.yaml: the validation images are the {part} images, but a search needs "
                "separate ones: set split.method, for instance to stratified"
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    # str: even an empty name, as of `make search`, is answered with those of all studies
    parser.add_argument("name", type=str, help="name of the study: searches/NAME.yaml")
    add_cluster_options(parser, "trials in parallel")
    parser.add_argument(
        "--anew", action="store_true", help="delete the study so far and its experiments"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
