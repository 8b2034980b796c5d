"""A search of hyperparameters: real DVC, Optuna and Dask, in a pipeline like ours whose training
takes no time."""

import contextlib
import csv
import io
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from distributed import LocalCluster
from ruamel.yaml import YAML
from support import machines
from support.example import load_example, read_example
from support.processes import eventually, processes_in
from support.project import ROOT, Project, copy, ran

from commands.parallel import cluster
from commands.pipeline import graph
from commands.reviewing import history
from commands.search import DATABASE, carry_out, main
from commands.searching import confirmation, experiments, page, reading, routes, studies, trial
from commands.searching.campaign import Campaign
from commands.searching.running import Event, Run
from commands.searching.schema import Search, Values
from commands.searching.trainings import Trainings
from stages.runtime import cli, inputs
from stages.runtime.errors import UserError
from stages.storage import files

PIPELINE = """
stages:
  preprocess:
    cmd: python prepare.py
    deps: [prepare.py]
    params: [seed, dataset, preprocess]
    outs: [data/prepared]
  train:
    matrix:
      model: ${models}
    cmd: python train.py ${item.model}
    deps: [data/prepared, train.py]
    params: [seed, train, 'architectures.${item.model}']
    outs:
    - models/${item.model}/history.csv
    - models/${item.model}/predictions.npz
  compare:
    cmd: python compare.py
    deps: [models/fashion-2blocks/predictions.npz, compare.py]
    metrics:
    - reports/metrics.json:
        cache: false
"""
PREPARE = """
import json
from pathlib import Path
import numpy as np
import yaml
params = yaml.safe_load(open("params.yaml"))
folder = Path("data/prepared")
folder.mkdir(parents=True)
for part in ("validation", "test"):
    np.save(folder / f"{part}_labels.npy", (np.arange(200) + (part == "test")) % 4)
about = {name: params[name] for name in ("dataset", "preprocess")}
about |= {"validation_is_test": False, "validation_is_training": False}
(folder / "data.json").write_text(json.dumps(about))
with open("MARKS/prepared", "a") as file:
    file.write("once\\n")
"""
# edits params.yaml while the data are made
EDIT = """
text = Path("params.yaml").read_text().replace("epochs: 8", "epochs: 99")
Path("params.yaml").write_text(text)
"""
# the validation accuracy is the learning rate and a little more by seed, the test accuracy 1 minus
# that; epoch 2 waits until it may continue
TRAIN = """
import os, sys, time
from pathlib import Path
import numpy as np
import yaml
params = yaml.safe_load(open("params.yaml"))
rate, seed, marks = params["train"]["learning_rate"], params["seed"], Path("MARKS")
folder = Path("models") / sys.argv[1]
checkpoint, partial = folder / "checkpoint.npz", folder / "partial.npz"
done = int(np.load(checkpoint)["done"]) if checkpoint.exists() else 0
for epoch in range(done + 1, 4):
    while epoch == 2 and not ((marks / "go").exists() or (marks / f"go-{rate}").exists()):
        time.sleep(0.02)
    with open(marks / f"trained-{rate}-{seed}", "a") as file:
        file.write(f"{epoch}\\n")
    np.savez(partial, done=epoch)
    os.replace(partial, checkpoint)
    rows = [f"{number},{rate * number / 3},{1 - rate}" for number in range(1, epoch + 1)]
    text = "\\n".join(["epoch,val_accuracy,val_loss", *rows, ""])
    (folder / "rows").write_text(text)
    os.replace(folder / "rows", folder / "history.csv")
labels = np.arange(200) % 4
right = np.arange(200) < 200 * rate + seed % 3
predicted = np.eye(4)[np.where(right, labels, (labels + 1) % 4)] * 0.7 + 0.075
np.savez(folder / "predictions.npz", validation=predicted, test=predicted)
checkpoint.unlink()
"""
COMPARE = """
import json
json.dump({"fashion-2blocks": {"test_accuracy": 0.5}}, open("reports/metrics.json", "w"))
"""
TARGET = "train@fashion-2blocks"
SEARCH = """model: fashion-2blocks
objective: validation_accuracy
trials: 9
minutes:
sampler: BruteForceSampler
sampler_arguments: {}
pruner: NopPruner
pruner_arguments: {}
seeds: 1
confirm_seeds: 0
space:
  train.learning_rate: {choice: [0.3, 0.6]}
"""


@pytest.fixture(scope="module")
def search_template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("search") / "project"
    for part in ("stages", "commands"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in (".dvcignore", ".gitignore"):
        shutil.copy(ROOT / part, folder / part)
    (folder / "params.yaml").write_text(read_example(), encoding="utf-8")
    (folder / "models/fashion-2blocks").mkdir(parents=True)
    (folder / "reports").mkdir()
    (folder / "searches").mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "compare.py").write_text(COMPARE)
    project = Project(folder)
    project.edit_params(lambda params: params.update(models=["fashion-2blocks"]))
    project.edit_params(lambda params: params["train"].update(learning_rate=0.3))
    project.edit_params(lambda params: params["parallel"].update(resources={}, beyond=[], here=[]))
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.dvc("init", "--quiet")
    return project


@pytest.fixture
def project(search_template: Project, tmp_path: Path) -> Project:
    project = copy(search_template, tmp_path)
    (tmp_path / "marks").mkdir()
    for name, text in (("prepare.py", PREPARE), ("train.py", TRAIN)):
        project.path(name).write_text(text.replace("MARKS", str(tmp_path / "marks")))
    project.path("searches/rates.yaml").write_text(SEARCH)
    project.commit()
    return project


def write(project: Project, **changes: object) -> None:
    yaml, file = YAML(), project.path("searches/rates.yaml")
    yaml.dump(yaml.load(SEARCH) | changes, file)


def search(project: Project, *options: str, status: int = 0) -> str:
    return project.command("search", "rates", *options, status=status)


def trained(folder: Path) -> dict[str, str]:
    """The epochs that each training computed, by learning rate and seed."""
    return {
        path.name.removeprefix("trained-"): path.read_text().replace("\n", "")
        for path in (folder / "marks").glob("trained-*")
    }


def test_trials_side_by_side_become_experiments_and_the_best_is_confirmed(
    project: Project, tmp_path: Path
):
    (tmp_path / "marks/go").touch()
    project.dvc("repro")
    project.commit()
    write(project, confirm_seeds=2, space={"train.learning_rate": {"choice": [0.3, 0.9]}})
    output = search(project, "--workers", "2")
    seeds = (1337, 1338, 1339)
    assert trained(tmp_path) == {f"{rate}-{seed}": "123" for rate in (0.3, 0.9) for seed in seeds}
    # once for all trials, and for each new seed once, or twice where both needed it at a time
    assert (tmp_path / "marks/prepared").read_text().count("once") <= 5
    assert "trial 1: 0.91" in output and "on new seeds: better" in output
    assert output.count("test accuracy: 0.09") == 1

    shown = csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv", "--no-pager")))
    best = next(row for row in shown if row["Experiment"] == "rates-1")
    assert best["fashion-2blocks.validation_accuracy"] == "0.91"
    assert best["fashion-2blocks.test_accuracy"] == ""  # nothing of the base's
    project.dvc("exp", "apply", "rates-1")
    assert "learning_rate: 0.9" in project.path("params.yaml").read_text()
    assert ran(project.dvc("repro")) == ["compare"]

    page = project.path("searches/rates/index.html").read_text()
    assert "better" in page and page.count("data:image/png") == 4 and "http" not in page


def test_a_killed_search_resumes_and_neither_loses_nor_repeats_an_epoch(
    project: Project, tmp_path: Path
):
    write(project, seeds=2)
    killed = project.start(sys.executable, "-m", "commands.search", "rates", "--workers", "2")
    kept = project.path(".dvc/tmp/search/kept/rates")
    eventually(lambda: len(list(kept.glob("rates-*/checkpoint.npz"))) == 2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    eventually(lambda: not processes_in(project.path(".dvc/tmp/search")))
    assert trained(tmp_path) == {"0.3-1337": "1", "0.6-1337": "1"}

    (tmp_path / "marks/go").touch()
    output = search(project, "--workers", "2")
    runs = {f"{rate}-{seed}": "123" for rate in (0.3, 0.6) for seed in (1337, 1338)}
    assert trained(tmp_path) == runs
    assert "trial 0: 0.3050" in output and "trial 1: 0.6050" in output  # means of two seeds
    assert "trial 2" not in output
    assert not kept.exists()


def test_a_search_runs_on_machines_that_share_nothing_but_a_remote(
    project: Project, tmp_path: Path
):
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.commit()
    with machines.connected(3) as (own, *others), contextlib.ExitStack() as stack:

        def start(machine: machines.Machine, *arguments: str, **options: str) -> Callable[[], str]:
            command = machine.command(sys.executable, "-m", "dask", *arguments, **options)
            log = stack.enter_context(open(tmp_path / f"{machine.name}.log", "w+"))
            process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return lambda: Path(log.name).read_text()

        address = f"tcp://{own.address}:8786"
        read_log = start(own, "scheduler", "--host", own.address, "--no-dashboard")
        eventually(lambda: "Scheduler at" in read_log())
        for worker in others:
            scratch = ("--nthreads", "1", "--no-dashboard", "--local-directory", worker.name)
            hidden = str(project.folder)  # and with it the study
            read_log = start(
                worker, "worker", address, "--host", worker.address, *scratch, hidden=hidden
            )
            eventually(lambda read_log=read_log: "Registered to" in read_log())
        command = ("commands.search", "rates", "--scheduler", address, "--remote")
        run = project.start(*own.command(sys.executable, "-m", *command))
        # each worker has one thread, so both are at work
        eventually(lambda: trained(tmp_path) == {"0.3-1337": "1", "0.6-1337": "1"})
        (tmp_path / "marks/go").touch()
        output, _ = run.communicate()
    assert run.returncode == 0 and "best: trial 1, validation_accuracy 0.6100" in output, output
    project.dvc("exp", "apply", "rates-1", status=255)  # the model lies in the remote alone
    assert ran(project.dvc("repro", "--pull")) == ["compare"]


def test_a_hopeless_trial_is_given_up_and_an_equal_one_is_not_trained(
    project: Project, tmp_path: Path
):
    (tmp_path / "marks/go-0.3").touch()  # the others would wait forever
    with open(project.path("prepare.py"), "a") as file:
        file.write(EDIT)
    pruner = {"pruner": "MedianPruner", "pruner_arguments": {"n_startup_trials": 1}}
    space = {"train.learning_rate": {"choice": [0.3, 0.2, 0.1]}}
    write(project, sampler="RandomSampler", space=space, **pruner)
    output = search(project, "--workers", "1")
    assert "trial 0: 0.31" in output and "; as trial" in output
    assert trained(tmp_path) == {"0.3-1337": "123", "0.2-1337": "1", "0.1-1337": "1"}
    assert not project.path(".dvc/tmp/search/kept/rates").exists()  # nothing resumes from it
    assert not processes_in(project.path(".dvc/tmp/search"))
    assert project.dvc("exp", "list", "--names-only").split() == ["rates-0"]
    # params.yaml counts as it was at the start
    assert "epochs: 99" in project.path("params.yaml").read_text()
    commit = project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps").strip()
    assert "epochs: 8 " in project.run("git", "show", f"{commit}:params.yaml")


def test_a_study_continues_after_its_best_was_applied_even_with_other_data(
    project: Project, tmp_path: Path
):
    (tmp_path / "marks/go").touch()
    space = {"preprocess.image_size": {"choice": [8, 16]}}
    loss = {"objective": "validation_loss", "space": space}
    write(project, **loss, trials=1)
    search(project)
    project.dvc("exp", "apply", "rates-0")
    write(project, **loss)
    expected = -0.31 * math.log(0.775) - 0.69 * math.log(0.075)
    assert f"trial 1: {expected:.4f}" in search(project)
    project.edit_params(lambda params: params["preprocess"].update(channels=1))
    assert "another preprocess.channels:" in search(project, status=1)
    project.dvc("exp", "rename", "rates-1", "mine")
    project.commit()
    search(project, "--anew", "--workers", "2")
    head = project.run("git", "rev-parse", "HEAD").strip()
    new = {f"refs/exps/{head[:2]}/{head[2:]}/rates-{number}" for number in (0, 1)}
    left = {name for name in list_references(project) if name.endswith(("/mine", "/rates-0", "-1"))}
    assert len(left - new) == 1 and left > new  # the renamed one is no longer the study's


class Runner:
    """Runs no training: up to four of them wait, and the first one ends as the next of `outcomes`
    says."""

    def __init__(self, outcomes: list[dict]):
        self.running, self.outcomes, self.begun = [], outcomes, []

    def has_room(self) -> bool:
        return len(self.running) < 4

    def start(self, run: Run) -> None:
        self.running.append(run)
        self.begun.append(run.name)

    def wait(self) -> Event:
        return Event(self.running.pop(0), **self.outcomes.pop(0))

    def locate_log(self, name: str) -> str:
        return name


WELL, FAILED = {"result": {}}, {"failed": "no such file"}


def campaign(study: optuna.Study, search: Search, *outcomes: dict) -> Campaign:
    runner = Runner(list(outcomes))
    trainings = SimpleNamespace(
        runner=runner, base=SimpleNamespace(values=load_example().model_dump()), seed=1,
        start=runner.start, name_run=lambda number, seed: str(number),
        save_result=lambda *_: 0.5, search=search,
    )  # fmt: skip
    trainings.read_present = lambda: Trainings.read_present(trainings)
    return Campaign(study, trainings)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_search_ends_if_trainings_fail_but_not_if_values_are_invalid():
    """Each training runs here until the study starts no other."""
    space = {
        "train.learning_rate": {"choice": [0.1, 0.2, 0.3]},
        "architectures.fashion-2blocks.activation": {"choice": ["leaky_relu", "relu", "elu"]},
        "architectures.fashion-2blocks.negative_slope": {"choice": [0.3, None]},
    }
    search = Search.model_validate(YAML(typ="safe").load(SEARCH) | {"space": space, "trials": 18})

    def run(*outcomes: dict) -> list[str]:
        study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=1))
        campaign(study, search, *outcomes).run()
        return [trial.state.name for trial in study.trials]

    # the half of 18 contradicts the schema: leaky_relu without a slope, and the others with one
    for outcomes in ([WELL] + 8 * [FAILED], 3 * [FAILED] + 6 * [WELL]):
        states = run(*outcomes)
        assert states.count("FAIL") == 9
        assert states.count("RUNNING") == outcomes.count(FAILED)  # for the next start
        assert states.count("COMPLETE") == outcomes.count(WELL)
    with pytest.raises(UserError, match="6 trainings failed"):
        run(*6 * [FAILED])  # three of them under way at the third failure


def test_a_training_that_failed_is_repeated_by_the_next_start_alone():
    space = {"train.learning_rate": {"choice": [0.3, 0.6, 0.9]}}
    content = YAML(typ="safe").load(SEARCH) | {"space": space, "trials": 3}
    search, study = Search.model_validate(content), optuna.create_study()
    for value in (0.3, 0.6, 0.3):  # the third trial waits for the first
        study.enqueue_trial({"train.learning_rate": value})
    begun, notes = [], []
    for outcomes in ([FAILED, WELL], [FAILED], [WELL]):
        start = campaign(study, search, *outcomes)
        start.run()
        begun.append(start.trainings.runner.begun)
        notes.append(page.tabulate("rates", search, study.trials)["note"].tolist())
    assert begun == [["0", "1"], ["0"], ["0"]]
    why = "no such file, see 0"
    assert notes == 2 * [[why, "", "equal to trial 0"]] + [["", "", "equal to trial 0"]]
    assert [trial.state.name for trial in study.trials] == 3 * ["COMPLETE"]


def test_a_trial_that_waited_for_an_equal_one_has_its_outcome_after_the_next_start():
    search = Search.model_validate(YAML(typ="safe").load(SEARCH) | {"trials": 2})
    study = optuna.create_study()
    for _ in range(2):
        study.enqueue_trial({"train.learning_rate": 0.3})
    stopped = campaign(study, search)
    stopped.start(study.ask())
    stopped.start(study.ask())
    study.tell(0, 0.5)  # and the search is killed before it tells the other
    start = campaign(study, search)
    start.run()
    assert stopped.trainings.runner.begun == ["0"] and start.trainings.runner.begun == []
    assert [(trial.state.name, trial.value) for trial in study.trials] == 2 * [("COMPLETE", 0.5)]


@pytest.mark.parametrize("drawing", ["well", "fails"])
def test_a_stopped_search_ends_its_trainings_first_and_its_page_keeps_the_verdict(
    drawing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = YAML(typ="safe").load(SEARCH) | {"confirm_seeds": 3}
    search = Search.model_validate(content)
    study = optuna.create_study(direction="maximize", study_name="rates")
    for rate in (0.6, 0.3):
        study.enqueue_trial({"train.learning_rate": rate})
    trial = study.ask()
    studies.suggest(trial, search.space)
    study.tell(trial, 0.9)
    trainings = campaign(study, search).trainings
    trainings.name, trainings.search = "rates", search
    values = (0.80, 0.90, 0.81, 0.91, 0.82, 0.92)  # of params.yaml and the trial, seed by seed
    study.set_user_attr(
        "confirmed", dict(zip(confirmation.list_runs(study, trainings), values, strict=True))
    )
    study.set_user_attr("test", {"0": {"accuracy": 0.87, "standard_error": 0.01}})
    runner, steps = trainings.runner, []

    def stop() -> None:
        raise KeyboardInterrupt

    def draw(study: optuna.Study, search: Search) -> dict[str, str]:
        steps.append("the page is drawn")
        if drawing == "fails":
            raise OSError("no space left")
        return {}

    runner.wait, runner.stop_all = stop, lambda: steps.append("the trainings end")
    monkeypatch.setattr(page, "draw", draw)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        carry_out(study, trainings, 0.1)
    assert runner.begun == ["1"] and steps == ["the trainings end", "the page is drawn"]
    written = tmp_path / "searches/rates/index.html"
    if drawing == "fails":
        assert not written.exists()
    else:
        text = written.read_text()
        assert "<strong>better</strong> (p 0.00" in text and "0.8700 ± 0.0100" in text


@pytest.mark.parametrize(
    ("values", "looks"),
    [((0.80, 0.82, 0.85, 0.87, 0.90, 0.92), []), ((0.80, 0.90, 0.81, 0.91, 0.82, 0.92), [0])],
    ids=["equal by chance", "better"],
)
def test_only_a_better_trial_is_evaluated_on_the_test_set(
    values: tuple[float, ...], looks: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`values`: of params.yaml and of the best trial, seed by seed."""
    monkeypatch.chdir(tmp_path)
    search = Search.model_validate(YAML(typ="safe").load(SEARCH) | {"confirm_seeds": 3})
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"train.learning_rate": 0.6})
    study.enqueue_trial({"train.learning_rate": 0.3})
    trainings = campaign(study, search, WELL, WELL).trainings
    trainings.name, trainings.search, trainings.runner.remote = "rates", search, False
    seen: list[int] = []
    measured = iter((0.9, 0.5, *values))  # first of the two trials
    trainings.name_run = lambda number, seed: f"{number}-{seed}"
    trainings.run_all = lambda runs: [(run, {}) for run in runs]
    trainings.save_result = lambda *_: next(measured)
    monkeypatch.setattr(page, "draw", lambda *_: {})
    monkeypatch.setattr(confirmation, "look_at_test", lambda *given: seen.append(given[-1]))
    carry_out(study, trainings, 0.1)
    assert seen == looks


def test_an_experiment_replaces_that_of_its_study_on_another_commit_but_no_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project.folder)
    project.path("dvc.lock").write_text("stages: {}\n")
    text = project.path("params.yaml").read_text()
    study, other = (optuna.create_study(study_name="rates") for _ in range(2))
    for state in ("one", "another"):
        project.path("state").write_text(state)
        project.commit()
        base = experiments.read_base(text, [])
        for name in ("rates-1", "rates-11"):
            experiments.save(study, name, base, text, {}, {})
    commits = [history.find_commit(name) for name in ("rates-1", "rates-11")]
    for commit in commits:
        assert project.run("git", "rev-parse", f"{commit}^").strip() == base.head

    def save_others() -> None:
        with pytest.raises(UserError, match="dvc exp remove rates-1`"):
            experiments.save(other, "rates-1", base, text, {}, {})

    save_others()
    project.path("state").write_text("a third")
    project.commit()
    base = experiments.read_base(text, [])
    save_others()  # the reference would be another one
    experiments.remove(studies.list_saved(other), experiments.find_named(bool))
    assert [history.find_commit(name) for name in ("rates-1", "rates-11")] == commits


def test_a_study_of_something_else_is_not_continued(tmp_path: Path):
    search = Search.model_validate(YAML(typ="safe").load(SEARCH))
    database, common = tmp_path / "studies.db", {"train": {"epochs": 8}}

    def begin(search: Search, common: dict) -> optuna.Study:
        return studies.open_study("rates", search, studies.bind(search, common), 1, database)

    def check(search: Search, common: dict) -> None:
        studies.check_bound(studies.find_study("rates", database), studies.bind(search, common))

    other = search.model_copy(update={"objective": "validation_loss"})
    assert begin(other, {}).direction.name == "MINIMIZE"
    began = begin(search, common)  # no trial
    assert began.direction.name == "MAXIMIZE"
    began.ask()
    check(search.model_copy(update={"trials": 99}), common)
    with pytest.raises(UserError, match="another train.epochs:"):
        check(search, {"train": {"epochs": 9}})
    for key, value in (("seeds", 2), ("model", "mnist-dense"), ("objective", "validation_loss")):
        with pytest.raises(UserError, match=f"another {key}:"):
            check(search.model_copy(update={key: value}), common)
    studies.delete_study("rates", database)
    assert studies.find_study("rates", database) is None


def run_here(project: Project, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """Run the search in this process, in the project's folder."""
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(cli, "exit_on_signals", lambda: None)
    main("rates", **{"workers": 1, "scheduler": None, "remote": False, "anew": False} | options)


def finish_search(project: Project) -> str:
    """Leave behind what a search does that is done with trial 0: in the study, its experiment, and
    the page. Returns the experiment's reference."""
    search = Search.model_validate(YAML(typ="safe").load(SEARCH))
    study = studies.open_study(
        "rates", search, studies.bind(search, {}), 1, project.path(str(DATABASE))
    )
    studies.suggest(trial := study.ask(), search.space)
    study.tell(trial, 0.3)
    files.write_text(project.path("searches/rates/index.html"), "the page")
    head = project.run("git", "rev-parse", "HEAD").strip()
    studies.record_saved(study, head)
    reference = f"refs/exps/{head[:2]}/{head[2:]}/rates-0"
    project.run("git", "update-ref", reference, head)
    return reference


def list_references(project: Project) -> list[str]:
    return project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()


def test_a_search_that_is_refused_deletes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    reference = finish_search(project)
    project.dvc("repro", "preprocess")
    prepared = project.path(str(inputs.PREPARED_DESCRIPTION)).read_text()
    head = project.run("git", "rev-parse", "HEAD")

    def refuse(message: str, **options: object) -> None:
        with pytest.raises(UserError, match=message):
            run_here(project, monkeypatch, anew=True, **options)
        assert len(studies.find_study("rates", DATABASE).trials) == 1
        assert list_references(project) == [reference]
        assert project.path("searches/rates/index.html").exists()

    project.path(str(inputs.PREPARED_DESCRIPTION)).write_text(
        prepared.replace('"validation_is_test": false', '"validation_is_test": true')
    )
    monkeypatch.setattr(routes, "bring_up_to_date", lambda *_: graph.read_plan([TARGET]))
    refuse("the validation images are the test images")
    project.path(str(inputs.PREPARED_DESCRIPTION)).write_text(prepared)
    with monkeypatch.context() as impatient:
        impatient.setattr(cluster, "WAIT", 0.2)
        refuse("no Dask scheduler", scheduler="tcp://127.0.0.1:9")
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as existing:
        address = existing.scheduler_address
        project.path(".git/shallow").write_text(head)
        refuse("shallow clone", scheduler=address)
        project.path(".git/shallow").unlink()
        project.edit_params(
            lambda params: params["parallel"].update(resources={"train": {"memory": 1e9, "gpu": 0}})
        )
        refuse(r"parallel\.resources.*memory 1e\+09", scheduler=address)


@pytest.mark.parametrize("place", ["another worktree", "a deleted study"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_search_leaves_experiments_alone_that_its_study_did_not_save(
    place: str, anew: bool, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reference = finish_search(project)
    if place == "another worktree":
        project.run("git", "worktree", "add", "--quiet", "--detach", str(tmp_path / "other"))
        here = Project(tmp_path / "other")
    else:
        here = project
        files.remove(project.path(str(DATABASE)))
    with pytest.raises(UserError, match="dvc exp remove rates-0`"):
        run_here(here, monkeypatch, anew=anew)
    assert list_references(project) == [reference]
    assert not here.path("data/prepared").exists()  # nothing has run


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("damage", ["other", "cut", "old"])
def test_a_damaged_database_is_refused_in_words_and_left_alone(
    damage: str,
    anew: bool,
    search_template: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    project = copy(search_template, tmp_path)
    project.path("searches/rates.yaml").write_text(SEARCH)
    project.commit()
    database = project.path(str(DATABASE))
    if damage == "other":
        files.write_text(database, "no database")
    else:
        finish_search(project)
    if damage == "cut":
        database.write_bytes(database.read_bytes()[:8192])
    elif damage == "old":
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("update version_info set schema_version = 1")
            connection.execute("update alembic_version set version_num = 'v0.9.0.a'")
            connection.commit()
    content = database.read_bytes()
    with pytest.raises(UserError, match="studies.db.*move it away"):
        run_here(project, monkeypatch, anew=anew)
    assert database.read_bytes() == content


def test_a_continued_study_draws_new_values(tmp_path: Path):
    space = {"train.learning_rate": Values(low=0.1, high=1.0)}
    changes = {"sampler": "RandomSampler", "space": space}
    search = Search.model_validate(YAML(typ="safe").load(SEARCH)).model_copy(update=changes)
    drawn = set()
    for _ in range(3):
        study = studies.open_study("rates", search, {}, 1, tmp_path / "studies.db")
        drawn.add(studies.suggest(study.ask(), space)["train.learning_rate"])
    assert len(drawn) == 3


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "train.learning_rate",
            "train.learningrate",
            12,
            "unknown key. Did you mean learning_rate",
        ),
        ("{choice: [0.3, 0.6]}", "{low: 0.1, high: 0.1}", 12, "the range is empty"),
        ("{choice: [0.3, 0.6]}", "{choice: []}", 12, "at least 1 item"),
        (
            "{choice: [0.3, 0.6]}",
            "{low: 0, high: 0.1, log: true}",
            12,
            "log needs low to be above 0",
        ),
        ("{choice: [0.3, 0.6]}", "{choice: [0.3, -1.0]}", 12, "greater than 0"),
        ("{choice: [0.3, 0.6]}", "{low: 0.1, high: 0.2}", None, "each range needs a step"),
        ("train.learning_rate", "split.validation", 12, "cannot be searched"),
        (
            "train.learning_rate: {choice: [0.3, 0.6]}",
            "train.optimizer_arguments: {choice: [{}, {beta_1: 0.8}]}\n"
            "  train.optimizer_arguments.beta_2: {choice: [0.9, 0.99]}",
            13,
            "train.optimizer_arguments, which is searched too",
        ),
        ("model: fashion-2blocks", "model: mnist-dens", 1, "Did you mean mnist-dense"),
        ("model: fashion-2blocks", "model: vgg16", 1, "is not trained"),
        ("sampler: BruteForceSampler", "sampler: TPE", 5, "TPESampler"),
        ("confirm_seeds: 0", "confirm_seeds: 1", None, "one seed has no spread"),
        ("pruner: NopPruner", "pruner: PercentilePruner", 8, "percentile"),
        ("sampler_arguments: {}", "sampler_arguments: {seed: 5}", 6, "leave it out"),
        *(
            (
                "sampler: BruteForceSampler\nsampler_arguments: {}",
                f"sampler: TPESampler\nsampler_arguments:\n  multivariate: true\n  {argument}: 3",
                8,
                "leave it out",
            )
            for argument in ("gamma", "weights", "constraints_func")
        ),
        (
            "sampler: BruteForceSampler\nsampler_arguments: {}",
            "sampler: QMCSampler\nsampler_arguments: {independent_sampler: 3}",
            6,
            "leave it out",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(
    old: str, new: str, line: int | None, message: str, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(read_example(), encoding="utf-8")
    (tmp_path / "searches").mkdir()
    (tmp_path / "searches/mine.yaml").write_text(SEARCH.replace(old, new))
    with pytest.raises(UserError) as caught:
        reading.load("mine")
    assert message in str(caught.value)
    assert line is None or f"searches/mine.yaml:{line}: " in str(caught.value)


def test_pruning_is_refused_where_losses_do_not_compare():
    content = YAML(typ="safe").load(SEARCH) | {"objective": "validation_loss"}
    content["space"] = {
        "train.loss": {"choice": ["categorical_crossentropy", "mean_squared_error"]}
    }
    options, base = load_example(), YAML().load(read_example())
    for pruner, problems in (("MedianPruner", 1), ("NopPruner", 0)):
        search = Search.model_validate(content | {"pruner": pruner})
        assert len(list(reading.cross_check(search, options, base))) == problems


def test_what_has_no_effect_on_a_pretrained_network_is_not_searched():
    options, base = load_example(), YAML().load(read_example())
    content = YAML(typ="safe").load(SEARCH) | {"model": "pretrained-small"}
    options = options.model_copy(update={"models": ["pretrained-small"]})
    section = "architectures.pretrained-small.fine_tuning"
    rate, layers = "train.learning_rate", f"{section}.layers"
    trained = base["architectures"]["pretrained-small"]["fine_tuning"] | {"layers": "all"}
    for space, faults in (
        ({"preprocess.normalisation": {"choice": ["unit", "none"]}}, 1),
        ({rate: {"choice": [0.1, 0.2]}, "augment.rotation": {"choice": [0, 5]}}, 2),
        ({rate: {"choice": [0.1, 0.2]}, layers: {"choice": ["none", "all"]}}, 0),
        ({rate: {"choice": [0.1, 0.2]}, section: {"choice": [trained]}}, 0),
        ({f"{section}.batch_norm": {"choice": ["frozen", "trained"]}}, 1),
        ({"train.batch_size": {"choice": [16, 32]}}, 0),  # of both phases
    ):
        search = Search.model_validate(content | {"space": space})
        assert len(list(reading.cross_check(search, options, base))) == faults, space


def test_a_trial_that_has_only_some_of_its_values_is_not_shown():
    search = Search.model_validate(YAML(typ="safe").load(SEARCH))
    both = search.space | {"train.epochs": search.space["train.learning_rate"]}
    study = optuna.create_study()
    for _ in range(2):
        trial = study.ask()
        studies.suggest(trial, search.space)
    studies.suggest(trial, both)
    table = page.tabulate("rates", search.model_copy(update={"space": both}), study.trials)
    assert table["trial"].tolist() == [1]


def test_the_example_searches_fit_params_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "searches", tmp_path / "searches")
    project = Project(tmp_path)
    (tmp_path / "params.yaml").write_text(read_example(), encoding="utf-8")
    reading.load("fashion-batch-norm")
    project.edit_params(lambda params: params.update(dataset="flowers", models=["flowers-v7"]))
    reading.load("flowers-v7")


def test_a_difference_is_judged_by_its_spread_over_seeds():
    assert confirmation.judge([0.80, 0.81, 0.82], [0.90, 0.91, 0.92], 0.1, True)[0] == "better"
    assert confirmation.judge([0.80, 0.81, 0.82], [0.90, 0.91, 0.92], 0.1, False)[0] == "worse"
    word, p = confirmation.judge([0.80, 0.85, 0.90], [0.82, 0.87, 0.92], 0.1, True)
    assert word.startswith("no difference") and 0.5 < p < 0.8
    assert confirmation.judge([0.8, 0.8], [0.91, 0.92], 0.1, True)[0] == "better"  # a spread of one


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ([0.80, 0.81, math.nan], [0.90, 0.90, 0.91], "a training diverged"),
        ([0.80, 0.80, 0.80], [math.nan, 0.90, 0.91], "a training diverged"),
        ([0.80, 0.80, 0.80], [0.81, 0.81, 0.81], "all seeds gave the same value"),
    ],
)
def test_a_difference_without_a_spread_or_a_result_is_not_judged(
    old: list[float], new: list[float], why: str
):
    compared = confirmation.Confirmation(
        1, [2, 3, 4], old, new, *confirmation.judge(old, new, 0.1, True)
    )
    assert (compared.word, compared.p, compared.basis) == ("not judged", None, why)


@pytest.mark.parametrize(
    ("values", "inside", "outside"),
    [
        ({"low": 0.0, "high": 0.4, "step": 0.1}, [0.0, 0.3, 0.4], [0.25, 0.5]),
        ({"low": 1, "high": 4}, [1, 4], [2.5, 5, True]),
        ({"low": 1e-4, "high": 1.0, "log": True}, [0.0137, 1], [2.0]),
        ({"choice": [None, [8, 16]]}, [None, [8, 16]], [8]),
    ],
)
def test_the_values_of_params_yaml_begin_a_study_where_they_lie_in_its_space(
    values: dict, inside: list, outside: list
):
    space = Values(**values)
    assert all(map(space.contains, inside)) and not any(map(space.contains, outside))


def test_a_step_of_a_range_is_taken_as_its_decimal_fraction():
    """Optuna gives 0.1 + 2 × 0.1, and params.yaml says 0.3: the same value, trained once."""
    study, space = optuna.create_study(), {"rate": Values(low=0.1, high=0.5, step=0.1)}
    for value in (0.3, 0.1 + 2 * 0.1):
        study.enqueue_trial({"rate": value})
        assert studies.suggest(study.ask(), space) == {"rate": 0.3}
    first, second = study.get_trials()
    assert first.params != second.params
    assert len({studies.identify_trial(trial, space) for trial in (first, second)}) == 1
    assert studies.read_settings(second, space) == {"rate": 0.3}


def test_a_search_begins_nothing_after_its_minutes():
    search = Search.model_validate(YAML(typ="safe").load(SEARCH))
    for minutes, begun in ((1e-9, []), (None, ["0", "1"])):
        study = optuna.create_study()
        for rate in (0.3, 0.6):
            study.enqueue_trial({"train.learning_rate": rate})
        start = campaign(study, search.model_copy(update={"minutes": minutes}), WELL, WELL)
        start.run()
        assert start.trainings.runner.begun == begun


def test_a_training_that_diverged_has_no_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("data/prepared").mkdir(parents=True)
    for part in ("validation", "test"):
        np.save(f"data/prepared/{part}_labels.npy", np.array([0, 1]))
    right = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    diverged = np.array([[0.9, 0.1], [np.nan, np.nan]], np.float32)
    files.write_npz(tmp_path / "predictions.npz", validation=diverged, test=right)
    measures = trial.measure(tmp_path, ["validation", "test"])
    assert {*measures["validation"].values()} == {None}
    assert measures["test"]["accuracy"] == 1
