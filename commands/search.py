"""Search hyperparameters: run the study that searches/NAME.yaml describes, or go on with it.

Each trial trains one model by the pipeline's own stages, in a clone on a worker; Optuna proposes
the values and gives hopeless trials up while they train. What a trial trained stays as the DVC
experiment NAME-NUMBER. Judged by validation data; at the end the best is compared with params.yaml
as it is on new seeds, and only a best that is better is predicted on the test set.

Writes searches/NAME/index.html and trials.csv. Stop it whenever you like: started again, it goes
on. docs/search.md says more.
"""

import argparse
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from commands.parallel.options import add_cluster_options, prepare
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
    cli.exit_on_sigterm()
    cli.require_project()
    search, options, parameters = reading.load(name)
    count = prepare(workers, remote, options)
    with guard.hold(SCRATCH / "lock", "commands.search"):
        if anew:
            forget(name)
        run(name, search, options, parameters, count, scheduler, remote)


def forget(name: str) -> None:
    """Delete a study: its trials, experiments, kept checkpoints, logs and page."""
    from commands.searching import experiments, studies

    studies.delete_study(name, DATABASE)
    experiments.remove_all(name)
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
) -> None:
    """Run the search on a cluster, confirm its best, and write the page. The trials start from
    `options`, whose file has the text `parameters`, also where that changes meanwhile."""
    from commands.parallel import cluster, dispatch, exchange
    from commands.searching import experiments, studies
    from commands.searching.running import Runner
    from commands.searching.trainings import Trainings

    target, keys = f"train@{search.model}", list(search.space)
    plan = routes.bring_up_to_date(target, remote)
    inputs.check_prepared(options)  # params.yaml may have changed while the data were made
    refuse_odd_validation()
    ways = [routes.find_route(plan, target, more) for more in (keys, [*keys, "seed"])]
    base = experiments.read_base(parameters, sources.find_untracked(options))
    common = routes.describe_base(ways[0], keys, base.values)
    study = studies.open_study(name, search, common, options.seed, DATABASE)
    environment = {one: os.environ.get(one) for one in dispatch.BITS}  # before Dask changes it
    exchange.share_all({one for way in ways for one in way.given}, remote)
    kept, logs, scratch = SCRATCH / "kept" / name, SCRATCH / "logs", SCRATCH / "workers"
    files.remove(scratch)  # of a start that was killed
    for folder in (kept, logs):
        folder.mkdir(parents=True, exist_ok=True)
    with cluster.connect(scheduler, workers, scratch.absolute()) as client:
        runner = Runner(
            client,
            f"search-{uuid.uuid4().hex[:12]}",
            search.model,
            dispatch.find_needs(options.parallel, target),
            remote,
            kept.absolute(),
            logs,
        )
        trainings = Trainings(name, search, runner, base, *ways)
        with dispatch.clones(client, runner.name, base.content, remote, environment, runner.hear):
            try:
                carry_out(study, trainings, options.review.false_alarm_rate)
            finally:
                runner.stop_all()
    files.remove(kept)  # of trials that were given up: nothing goes on from them any more


def carry_out(study: "optuna.Study", trainings: "Trainings", rate: float) -> None:
    """Run the trials, confirm the best, and write the page, also of what is there when it ends
    early."""
    from commands.searching import confirmation, page, studies
    from commands.searching.campaign import Campaign

    name, search = trainings.name, trainings.search
    try:
        Campaign(study, search, trainings).run()
        verdict = confirmation.confirm(study, trainings, rate)
        test = None
        if verdict and verdict.word == confirmation.BETTER:
            test = confirmation.look_at_test(study, trainings, verdict.trial)
    except BaseException:
        page.write(name, search, study)
        print(f"what is done is kept: `python -m commands.search {name}` goes on", file=sys.stderr)
        raise
    pull = " --pull" if trainings.runner.remote else ""
    written, best = page.write(name, search, study, verdict, test), studies.find_best(study)
    if best is None:
        raise UserError(f"no trial is complete: {written} says what became of each")
    print(f"best: trial {best.number}, {search.objective} {best.value:.4f}")
    if verdict:
        print(f"against params.yaml as it is, on new seeds: {verdict.word} (p {verdict.p:.3f})")
    elif search.confirm_seeds:
        print("these are the values of params.yaml: there is nothing to confirm")
    if test:
        print(f"test accuracy: {test['accuracy']:.4f} ± {test['standard_error']:.4f}")
    print(f"See all trials:  {written.resolve().as_uri()}")
    print(f"Take the best:   dvc exp apply {name}-{best.number}, and then dvc repro{pull}")


def refuse_odd_validation() -> None:
    """Raises `UserError` where the validation images are those of another part: a search would be
    judged on what it trains on, or look at the test set in each trial."""
    data = files.read_json(inputs.PREPARED)
    for part in ("test", "training"):
        if data[f"validation_is_{part}"]:
            raise UserError(
                f"params.yaml: the validation images are the {part} images: a search needs its "
                "own; set split.method: stratified, for instance"
            )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of the study: searches/NAME.yaml")
    add_cluster_options(parser, "trials side by side")
    parser.add_argument(
        "--anew", action="store_true", help="delete the study and its experiments first"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
