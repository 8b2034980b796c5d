"""The queue of the documents' experiments: its order, that it may be stopped at any moment, and
what it leaves of an experiment and of one that starts from it."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import pandas as pd
import pytest
from support.example import load_example
from support.processes import eventually, processes_in
from support.project import Project, copy, ran

from commands import replicate
from commands.rechecking import budget, sides, stale
from commands.replicating import committing, progress, rows
from commands.replicating.rows import Row
from stages.params.schema import Recheck
from stages.replications import options, table
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training.state import read_state

FIRST, MORE = "cifar100-simple-cnn", "cifar100-simple-cnn-more"
PARAMS = "replications/params.yaml"
TARGET = f"replications/dvc.yaml:evaluate@{MORE}"
EPOCHS = 40  # enough to stop the first experiment midway
QUEUE = [sys.executable, "-m", "commands.replicate", "--commit", MORE, FIRST]


def row(name: str, minutes: float, starts_from: str | None = None) -> Row:
    return Row(name, (), starts_from, (1, 2), 10, 5, True, minutes)


def write_checkpoint(experiment: Row, seed: int, epochs: int, finished: bool = False) -> None:
    file = experiment.checkpoints / f"seed-{seed}.npz"
    state = {"history": [{}] * epochs, "finished": finished, "seconds": 1.0}
    files.write_npz(file, state=np.array(json.dumps(state)))


def write_history(experiment: Row, seed: int, epochs: int, written: float, head: int = 0) -> None:
    """A history whose first `head` epochs, if any, trained the head alone."""
    history = pd.DataFrame({"val_accuracy": 0.5}, pd.RangeIndex(1, epochs + 1, name="epoch"))
    if head:
        history["phase"] = ["head"] * min(head, epochs) + ["fine-tuning"] * (epochs - head)
    file = Path("replications/trained") / experiment.name / f"seed-{seed}" / "history.csv"
    files.write_text(file, history.to_csv())
    os.utime(file, (written, written))


@pytest.mark.parametrize(
    ("weights", "layers", "epochs"),
    [("imagenet", "none", 30), ("imagenet", "all", 38), (None, "none", 8)],
)
def test_only_pretrained_weights_add_epochs_of_the_head(
    weights: str | None, layers: str, epochs: int
):
    small = load_example().architectures["pretrained-small"]
    tuning = small.fine_tuning.model_copy(update={"head_epochs": 30, "layers": layers})
    network = small.model_copy(update={"weights": weights, "fine_tuning": tuning})
    assert rows.count_epochs(network, 8) == epochs


def test_the_least_time_left_comes_first_but_after_what_it_starts_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    long, short, next_one = row("long", 20), row("short", 11), row("next", 1, starts_from="long")
    queue = [next_one, long, short]
    assert [row.name for row in rows.sort_by_minutes_left(queue)] == ["short", "long", "next"]
    write_checkpoint(long, 1, epochs=7, finished=True)
    assert long.read_progress() == {1: (7, True)} and long.estimate_minutes_left() == 10
    assert [row.name for row in rows.sort_by_minutes_left(queue)] == ["long", "next", "short"]
    write_checkpoint(short, 1, epochs=1)
    assert short.estimate_minutes_left() == pytest.approx(11 * 0.9)
    (short.checkpoints / "seed-2.npz").write_bytes(b"damaged")
    assert short.read_progress() == {1: (1, False)}


def test_the_progress_shown_is_that_of_the_present_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    experiment = row("one", 20)
    write_history(experiment, 1, 9, written=100)  # left by an earlier run
    watch = progress.Watch(experiment, started=1000)
    watch.describe()
    assert watch.under_way is None
    write_history(experiment, 1, 3, written=1000)  # resumed, and one epoch done
    watch.describe()
    assert watch.seconds is None
    write_history(experiment, 1, 5, written=1060)
    watch.describe()
    assert watch.seconds == 30


def test_the_time_left_is_not_estimated_from_epochs_of_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    experiment = row("one", 20)  # two seeds with 10 epochs each, 6 of them of the head
    watch = progress.Watch(experiment, started=1000)
    for epochs, written in ((2, 1001), (6, 1003), (7, 1100)):
        write_history(experiment, 1, epochs, written, head=6)
        watch.describe()
        assert watch.seconds is None
    write_history(experiment, 1, 8, written=1130, head=6)
    shown = watch.describe()
    assert watch.seconds == 30 and "3 min" in shown


def shrink(content: Any) -> None:
    """Make the two experiments train a small network with two seeds."""
    for name in (FIRST, MORE):
        entry = content["experiments"][name]
        entry["architecture"] = "mnist-dense"
        entry["seeds"] = [1, 2]
        entry["train"]["epochs"] = EPOCHS
        entry["budget"] |= {"epochs": EPOCHS, "train": 100, "evaluation": 60}
    # the second changes no weight, so that it must end where the first did
    content["experiments"][MORE]["train"] |= {"optimizer": "sgd", "learning_rate": 1.0e-12}
    content["experiments"][MORE]["budget"]["epochs"] = 1


def refuse_by_hook(now: bool) -> None:
    hook = Path(".git/hooks/pre-commit")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\necho no commits today\nexit {int(now)}\n")
    hook.chmod(0o755)


def edit_stage(now: bool) -> None:
    Path("stages/train.py").write_text("# edited\n" if now else "")


@pytest.mark.parametrize(
    ("prevent", "reason"),
    [(refuse_by_hook, "no commits today"), (edit_stage, "stages/train.py")],
    ids=["a hook of git", "an edited stage"],
)
def test_a_commit_that_is_refused_does_not_stop_the_queue(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    prevent: Callable[[bool], None],
    reason: str,
):
    project, started = Project(tmp_path), []
    for name in ("params.yaml", "stages/train.py"):
        files.write_text(project.path(name), "")
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.name", "t")
    project.run("git", "config", "user.email", "t@example.org")
    project.commit()

    def run_row(row: Row, *_: object) -> bool:
        started.append(row.name)
        files.write_json(Path(f"replications/results/{row.name}/result.json"), {})
        prevent(row.name == "one")
        return True

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replicate, "run_row", run_row)
    with pytest.raises(UserError, match="not committed.*one, two"):
        replicate.run_queue([row("one", 1), row("two", 1)], dry=False, commit=True, download=True)
    assert started == ["one", "two"]
    shown = capsys.readouterr().out
    assert reason in shown
    # the second is not committed alone: the lock file and the table hold the first one too
    assert "git add -- replications/results/one replications/results/two" in shown
    assert project.run("git", "rev-list", "--count", "HEAD") == "1\n"


def test_a_row_that_fails_stops_only_those_that_start_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    started: list[str] = []
    monkeypatch.setattr(
        replicate, "run_row", lambda row, *_: started.append(row.name) or row.name != "one"
    )
    monkeypatch.setattr(replicate, "finish_row", lambda *_: True)
    queue = [row("one", 1), row("more", 1, "one"), row("most", 1, "more"), row("two", 1)]
    with pytest.raises(UserError, match="1 of 4 .*: one\n.*: more, most"):
        replicate.run_queue(queue, dry=False, commit=False, download=True)
    assert started == ["one", "two"]
    lines = capsys.readouterr().out.splitlines()
    assert any("more" in line and "one" in line for line in lines)


def test_a_row_that_another_process_trains_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replicate, "run_row", lambda *_: pytest.fail("started"))
    lock = row("one", 1).checkpoints / "train.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock), pytest.raises(UserError, match="in another process"):
        replicate.run_queue([row("one", 1)], dry=False, commit=False, download=True)


def test_results_are_not_committed_while_their_inputs_are_edited(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(fresh.folder)
    assert committing.list_edited() == []
    source = {"source": "/a/path/of/this/machine"}
    fresh.edit_params(lambda content: content["datasets"]["mnist"].update(source))
    assert committing.list_edited() == []
    fresh.edit_params(lambda content: content["evaluate"].update(top_k=3))
    assert committing.list_edited() == ["params.yaml"]
    fresh.edit_params(shrink, PARAMS)
    with pytest.raises(UserError, match=f"first: {PARAMS}, params.yaml"):
        replicate.main([FIRST], dry=False, commit=True, download=False)
    fresh.edit_params(lambda content: content["datasets"].update(mnist="/a/path"))
    with pytest.raises(UserError, match=r"datasets\.mnist"):
        replicate.main([FIRST], dry=False, commit=True, download=False)


def test_each_input_of_the_results_counts_as_edited(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(fresh.folder)
    for path in (
        "stages/training/fitting.py",
        "data/official/mnist.yaml",
        PARAMS,
        "replications/published.yaml",
        "replications/published_curves.csv",
        "replications/dvc.yaml",
    ):
        with open(path, "a") as file:
            file.write("# edited\n")
        assert committing.list_edited() == [path]
        fresh.run("git", "checkout", "--quiet", path)


class Replicated(NamedTuple):
    """A project after a queue that was stopped and started again."""

    project: Project
    start: str  # the commit before
    first: dict[str, Any]  # the checkpoint of the first seed, when the queue was stopped

    def commits(self) -> list[str]:
        """Subjects of the queue's commits, newest first."""
        return self.project.run("git", "log", "--format=%s", f"{self.start}..").splitlines()


@pytest.fixture(scope="module")
def replicated(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Replicated:
    """Two experiments on the embedded sample, one of which starts from the other, run by a queue
    that was stopped while the second seed of the first trained."""
    project = copy(template, tmp_path_factory.mktemp("replicated"))
    source = "data/embedded/fashion_mnist.npz"
    project.edit_params(lambda params: params["datasets"]["cifar100"].update(source=source))
    project.edit_params(shrink, PARAMS)
    project.run("git", "config", "user.name", "t")
    project.run("git", "config", "user.email", "t@example.org")
    project.commit()
    start = project.run("git", "rev-parse", "HEAD").strip()
    checkpoint = project.path(f"replications/checkpoints/{FIRST}/seed-2.npz")
    queue = project.start(*QUEUE)
    eventually(lambda: checkpoint.exists() or queue.poll() is not None, seconds=120)
    queue.send_signal(signal.SIGTERM)
    output, _ = queue.communicate()
    assert checkpoint.exists(), output
    eventually(lambda: not processes_in(project.folder, "stages.replications.train"))
    first = read_state(checkpoint.with_name("seed-1.npz"))
    assert len(first["history"]) == EPOCHS
    assert 1 <= len(read_state(checkpoint)["history"]) < EPOCHS
    project.run(*QUEUE)
    return Replicated(project, start, first)


def test_a_stopped_queue_resumes_and_commits_each_row(replicated: Replicated):
    project = replicated.project
    assert not list(project.path(f"replications/checkpoints/{FIRST}").glob("*.npz"))
    runs = files.read_json(project.path(f"replications/runs/{FIRST}.json"))
    assert set(runs) == {"seed-1", "seed-2"}
    seconds = runs["seed-1"]["seconds"]["fit"]
    assert seconds == round(replicated.first["seconds"], 2)  # not trained again
    # the newest first; nothing was half committed
    assert [text.split(":")[0] for text in replicated.commits()] == [MORE, FIRST]
    assert project.changes() == []
    project.run(*QUEUE)  # all is up to date
    assert len(replicated.commits()) == 2


def test_no_commit_holds_parts_of_other_results(replicated: Replicated, tmp_path: Path):
    project = copy(replicated.project, tmp_path)
    entry = {"cmd": "earlier, and not committed"}
    project.edit_params(
        lambda lock: lock["stages"].update({f"evaluate@{FIRST}": entry}), "replications/dvc.lock"
    )
    with chdir(project.folder):
        committing.refuse_uncommitted([row(FIRST, 1)])  # it runs again
        with pytest.raises(UserError, match=FIRST):
            committing.refuse_uncommitted([row(MORE, 1, FIRST)])


def test_a_row_brings_the_one_that_it_starts_from_if_that_must_be_trained(
    replicated: Replicated, tmp_path: Path
):
    project = copy(replicated.project, tmp_path)
    with chdir(project.folder):
        assert rows.find_rows([MORE], download=False) == []
        project.edit_params(
            lambda content: content["experiments"][FIRST]["train"].update(epochs=EPOCHS + 1),
            PARAMS,
        )
        assert [row.name for row in rows.find_rows([MORE], download=False)] == [FIRST, MORE]


def test_a_stopped_training_ends_with_the_bits_of_an_undisturbed_one(
    replicated: Replicated, tmp_path: Path
):
    project = copy(replicated.project, tmp_path)
    stage = f"replications/dvc.yaml:train@{FIRST}"
    assert ran(project.dvc("repro", "--force", "--single-item", stage)) == [f"train@{FIRST}"]
    assert not any("dvc.lock" in line for line in project.changes())


def test_an_experiment_that_starts_from_another_begins_where_it_ended(replicated: Replicated):
    folder = replicated.project.path("replications")
    first, more = (
        json.loads((folder / f"results/{name}/result.json").read_text())["seeds"]
        for name in (FIRST, MORE)
    )
    for seed in ("1", "2"):
        assert more[seed]["test"] == first[seed]["test"]
        assert first[seed]["test"]["images"] == first[seed]["validation"]["images"] == 60
    assert first["1"]["test"] != first["2"]["test"]
    # predictions are kept, models only where another experiment starts from them
    for name, kept in ((FIRST, {"model.keras", "optimizer.npz"}), (MORE, set())):
        kept_files = {path.name for path in (folder / f"trained/{name}/seed-1").iterdir()}
        assert kept_files == {"predictions.npz", "history.csv", "training.json"} | kept


def test_a_new_metric_needs_no_training_but_a_new_recipe_of_the_first_does(
    replicated: Replicated, tmp_path: Path
):
    project = copy(replicated.project, tmp_path)
    shutil.rmtree(project.path("replications/data"))
    with project.path("stages/metrics/measures.py").open("a") as code:
        code.write("# another metric\n")
    assert ran(project.dvc("repro", TARGET)) == [
        "data@cifar100-test-as-validation",
        f"evaluate@{MORE}",
    ]
    project.edit_params(
        lambda content: content["experiments"][FIRST]["train"].update(epochs=EPOCHS + 1), PARAMS
    )
    assert ran(project.dvc("repro", "--dry", TARGET)) == [f"train@{FIRST}"]


def test_a_comment_added_to_the_code_leaves_nothing_to_run(replicated: Replicated, tmp_path: Path):
    project = copy(replicated.project, tmp_path)
    with project.path("stages/training/fitting.py").open("a") as code:
        code.write("# a comment\n")
    output = project.command("replicate", "--dry", "--no-download", MORE, FIRST)
    assert "nothing to run" in output


def test_the_table_judges_a_row_by_the_budget_that_it_ran_with(
    replicated: Replicated, tmp_path: Path
):
    def allow_all(content: Any) -> None:
        for name in (FIRST, MORE):
            content["experiments"][name]["budget"] = dict.fromkeys(
                ("epochs", "train", "evaluation")
            )

    project = copy(replicated.project, tmp_path)
    project.edit_params(allow_all, PARAMS)
    with chdir(project.folder):
        table.main()
    text = project.path("replications/table.md").read_text()
    assert text.count("reduced budget") == 2 and text.count("not run yet") == 1


def test_a_recheck_cuts_a_row_down_together_with_the_one_that_it_starts_from(
    replicated: Replicated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(replicated.project.folder)
    trainings = stale.find_trainings(budget.REPLICATIONS)
    more = next(training for training in trainings if training.key == MORE)
    chain = more.find_predecessors(trainings)
    assert [training.key for training in chain] == [FIRST]
    code = sides.copy_working_tree(tmp_path / "code", ())
    small = Recheck(batches=2, epochs=2, patience=1, validation_images=3, pixels=8000)
    cut = sides.prepare_side(more, chain, code, tmp_path / "side", small)
    monkeypatch.chdir(tmp_path / "side")
    _, replications = options.load()
    for name in (FIRST, MORE):
        entry = replications.experiments[name]
        assert entry.seeds == [1]
        assert len(options.open_prepared(entry).labels("train")) == cut.images["train"] == 25
