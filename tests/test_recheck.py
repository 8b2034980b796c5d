"""What `make recheck` passes, and what it must never pass: planted changes of code that change a
result only slightly."""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from support.example import read_example
from support.project import ROOT, Project

from commands import recheck
from commands.parallel import options as parallel_options
from commands.pipeline import digests, sources
from commands.rechecking import (
    budget,
    choosing,
    comparing,
    processes,
    records,
    running,
    sides,
    stale,
)
from commands.reviewing import spread
from stages import params
from stages.params.schema import Recheck
from stages.replications import options
from stages.runtime import git
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training import backend

backend.start(2)

import keras  # noqa: E402

from stages import train  # noqa: E402

BUDGET = Recheck(batches=3, epochs=3, patience=2, validation_images=3, pixels=100000)
MODEL, OTHER = "mnist-dense", "fashion-2blocks"


# What counts as a difference


def test_each_differing_bit_is_a_difference():
    values = np.array([1.0, 2.0, np.nan], np.float32)
    assert comparing.describe_difference(values, values.copy()) == ""
    other = values.copy()
    other[1] = np.nextafter(other[1], np.float32(3))
    difference = comparing.describe_difference(values, other)
    assert "1 of 3 " in difference and "[1]" in difference
    assert "1 of 1 " in comparing.describe_difference(np.float32(0.0), np.float32(-0.0))
    assert "shape" in comparing.describe_difference(values, values[:2])
    assert "type" in comparing.describe_difference(values, values.astype(np.float64))


def test_arrays_under_new_names_are_matched_by_content():
    old = {"dense": np.ones(3), "bias": np.zeros(2)}
    gone, come = comparing.match_arrays(old, {"dense_new": np.ones(3), "bias": np.zeros(2)})
    assert set(gone) == set(come) == {"bias"}
    gone, come = comparing.match_arrays(old, {"dense_new": np.full(3, 2.0), "bias": np.zeros(2)})
    assert set(gone) == {"dense", "bias"}


def test_an_added_or_removed_layer_is_a_difference(tmp_path: Path):
    dense, norm = keras.layers.Dense(2), keras.layers.BatchNormalization()
    for name, layers in (("one", [dense]), ("more", [dense, norm])):
        keras.Sequential([keras.Input((2,)), *layers]).save(tmp_path / f"{name}.keras")
    one, more = ({"model.keras": tmp_path / f"{name}.keras"} for name in ("one", "more"))
    for pair, which in (((one, more), "new"), ((more, one), "old")):
        differences = comparing.compare(*pair)
        assert len(differences) == 4
        assert all(f"the {which} code" in line for line in differences)


# The cut


@pytest.mark.parametrize("side", [28, 224])
def test_the_cut_has_a_smaller_last_batch_and_makes_early_stopping_act(side: int):
    recipe = {
        "batch_size": 32,
        "prediction_batch_size": 50,
        "early_stopping": {"patience": 15, "monitor": "val_accuracy"},
    }
    cut = budget.plan_cut(recipe, [side, side, 3], BUDGET)
    assert cut.batch_size == (32 if side == 28 else 2)
    assert 0 < cut.images["train"] - BUDGET.batches * cut.batch_size < cut.batch_size
    assert cut.patience == 2
    # at worst the accuracy rises three times, each time after waiting one epoch
    assert cut.epochs > 1 + 3 * 2 + 2
    recipe["early_stopping"]["patience"] = None
    assert budget.plan_cut(recipe, [side, side, 3], BUDGET).epochs == BUDGET.epochs


def test_the_cut_keeps_each_phase_of_a_schedule():
    for given, cut in (
        ({"boundaries": [300, 900], "values": [3, 2, 1]}, {"boundaries": [1, 2]}),
        ({"boundary_epochs": [1, 2.5]}, {"boundaries": [1, 2]}),
        ({"decay_steps": 900, "warmup_steps": 3}, {"decay_steps": 4, "warmup_steps": 3}),
        ({"decay_epochs": 0.5, "warmup_epochs": 0}, {"decay_steps": 4, "warmup_steps": 0}),
    ):
        kept = {name: given[name] for name in given.keys() & {"values"}}
        assert budget.shorten_schedule(given, 4) == cut | kept


def test_the_cut_parameters_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "replications").mkdir()
    shutil.copy(ROOT / budget.PARAMS[budget.REPLICATIONS], tmp_path / "replications")
    (tmp_path / "params.yaml").write_text(read_example(), encoding="utf-8")
    key = "cifar10-whitened"  # with a schedule and an augmentation
    start = "cifar100-simple-cnn"  # with three seeds, from which another row starts
    for pipeline, name in (
        (budget.ROOT, "mnist-dense"),
        (budget.REPLICATIONS, key),
        (budget.REPLICATIONS, start),
    ):
        recipe = budget.read_recipe(tmp_path, pipeline, name)
        cut = budget.plan_cut(recipe, [32, 32, 3], BUDGET)
        budget.cut_params(tmp_path, pipeline, name, cut, seed=1)
    monkeypatch.chdir(tmp_path)
    root, replications = options.load()
    entry = replications.experiments[key]
    assert root.train.early_stopping.patience == BUDGET.patience
    cut_recipe = options.complete_train(replications.common, entry)
    assert (cut_recipe.epochs, entry.seeds) == (BUDGET.epochs, [1])
    # warm-up and decay are over within the few steps
    steps = [cut_recipe.schedule_arguments[key] for key in ("warmup_steps", "decay_steps")]
    assert sum(steps) < cut.steps * cut.epochs


# Planted changes


@pytest.fixture(scope="module")
def cut_project(
    finished_template: Project, step_by_step: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the small project's parameters and data, cut down; `old` holds the results of
    training with the present code."""
    folder, source = tmp_path_factory.mktemp("planted"), finished_template.folder
    (folder / "params.yaml").write_bytes((source / "params.yaml").read_bytes())
    more = {"batch_norm": "after", "dropout": 0.3}
    Project(folder).edit_params(lambda params: params["architectures"][MODEL].update(more))
    recipe = budget.read_recipe(folder, budget.ROOT, MODEL)
    cut = budget.plan_cut(recipe, [28, 28, 1], BUDGET)
    budget.cut_data(source / "data/prepared", folder / "data/prepared", cut, "val_accuracy", 0)
    budget.cut_params(folder, budget.ROOT, MODEL, cut, None)
    with pytest.MonkeyPatch.context() as patch:
        train_in(folder, patch)
    (folder / "models" / MODEL).rename(folder / "old")
    (folder / "old/finished-checkpoint.npz").unlink()  # not an output
    return folder


def train_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own
    train.main(MODEL)


def changed_argument(owner: type, name: str, change: Callable):
    """Plant a change of an argument of `owner`, whether given or left to its default."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = owner.__init__

        def init(self, *args, **kwargs):
            real(self, *args, **kwargs | {name: change(kwargs.get(name))})

        patch.setattr(owner, "__init__", init)

    return plant


def swapped_batches(patch: pytest.MonkeyPatch) -> None:
    real = np.random.default_rng
    swapped = lambda seed=None: real(seed[::-1] if isinstance(seed, list) else seed)  # noqa: E731
    patch.setattr(np.random, "default_rng", swapped)


def scaled_loss(patch: pytest.MonkeyPatch) -> None:
    real = keras.losses.SparseCategoricalCrossentropy.call
    patch.setattr(keras.losses.SparseCategoricalCrossentropy, "call", lambda *args: 2 * real(*args))


WEIGHTS, HISTORY = "model.keras: layers/", "history.csv: column "


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (lambda patch: None, None),
        (
            changed_argument(
                keras.optimizers.Adam, "learning_rate", lambda rate: (rate or 0.001) * 1.0001
            ),
            WEIGHTS,
        ),
        (changed_argument(keras.layers.Dropout, "seed", lambda seed: 7), WEIGHTS),
        (swapped_batches, WEIGHTS),
        (
            changed_argument(
                keras.callbacks.EarlyStopping, "patience", lambda patience: patience + 1
            ),
            HISTORY,
        ),
        (scaled_loss, HISTORY + "loss"),
        (
            changed_argument(
                keras.layers.Dense,
                "bias_initializer",
                lambda bias: keras.initializers.Constant(1e-7),
            ),
            WEIGHTS,
        ),
    ],
    ids=[
        "none",
        "learning rate",
        "dropout seed",
        "batch order",
        "patience",
        "loss scale",
        "a layer's default",
    ],
)
def test_a_planted_change_is_caught(
    cut_project: Path, plant: Callable, named: str | None, monkeypatch: pytest.MonkeyPatch
):
    shutil.rmtree(cut_project / "models", ignore_errors=True)
    plant(monkeypatch)
    train_in(cut_project, monkeypatch)
    old, new = (comparing.collect_files(cut_project, (out,)) for out in ("old", f"models/{MODEL}"))
    differences = comparing.compare(old, new)
    if named is None:
        assert differences == []
    else:
        caught = [line for line in differences if line.startswith(named) and "instead of" in line]
        assert caught, differences


# With DVC


def lock_entries(project: Project) -> dict:
    return yaml.safe_load(project.path("dvc.lock").read_text())["stages"]


def replace(project: Project, old: str, new: str) -> None:
    """Replace a text in all modules of the stages."""
    count = 0
    for path in project.path("stages").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        count += text.count(old)
        path.write_text(text.replace(old, new), encoding="utf-8")
    assert count


def test_a_model_of_another_commit_is_left_with_a_hint_to_check_out_its_own(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    predictions = finished.path(f"models/{MODEL}/predictions.npz")
    predictions.chmod(0o644)
    predictions.unlink()
    predictions.write_bytes(b"another")
    digests.refresh()
    trainings = stale.find_trainings("dvc.yaml")
    assert not any(training.is_outdated for training in trainings)
    replace(finished, "read_ahead(", "prefetch(")
    digests.refresh()
    trainings = stale.find_trainings("dvc.yaml")
    assert all(training.is_outdated for training in trainings)
    left = {
        training.key: choosing.explain_left(training, trainings, False) for training in trainings
    }
    assert "dvc checkout" in left[MODEL] and left[OTHER] is None


ON_CPU = {"computed_by": "tensorflow on cpu"}
RUN_ON_CPU = {"versions": {"tensorflow": "2"}, "hardware": {"devices": ["cpu:0"]}}
RUN_ON_GPU = RUN_ON_CPU | {"hardware": {"devices": ["gpu:0"]}}
RESULT = "replications/results/a/result.json"


@pytest.mark.parametrize(
    ("pipeline", "content", "why"),
    [
        # a clone lacks the run record of a model, but DVC or git has its description
        (budget.ROOT, {"models/a/training.json": ON_CPU}, None),
        (budget.ROOT, {"models/a/training.json": {"computed_by": "tensorflow on gpu"}}, "GPU"),
        (budget.ROOT, {"reports/models/a/training.json": ON_CPU}, None),
        (budget.ROOT, {"reports/models/a/training.json": {"computed_by": "jax on gpu"}}, "GPU"),
        (budget.ROOT, {"reports/models/a/training.json": {"computed_by": "jax on cpu"}}, "=jax"),
        # descriptions older than this record
        (budget.ROOT, {"models/a/training.json": {}, "models/a/run.json": RUN_ON_CPU}, None),
        (budget.ROOT, {"models/a/training.json": {}, "models/a/run.json": RUN_ON_GPU}, "GPU"),
        (budget.ROOT, {"models/a/run.json": RUN_ON_CPU | {"versions": {"jax": "0"}}}, "=jax"),
        (budget.ROOT, {"models/a/training.json": {}}, "no record"),
        (budget.ROOT, {"models/a/run.json": {"carried_over": {}}}, "no record"),
        (budget.REPLICATIONS, {}, "no record"),
        (budget.REPLICATIONS, {RESULT: ON_CPU}, None),
        (budget.REPLICATIONS, {RESULT: {"computed_by": "jax on gpu"}}, "GPU"),
        (
            budget.REPLICATIONS,
            {"replications/trained/a/seed-2/training.json": {"computed_by": "torch on cpu"}},
            "=torch",
        ),
        (
            budget.REPLICATIONS,
            {
                RESULT: {"computed_by": None},
                "replications/runs/a.json": {"seed-1": {"versions": {"tensorflow": "2"}}},
            },
            None,
        ),
        (
            budget.REPLICATIONS,
            {RESULT: ON_CPU, "replications/runs/a.json": {"1": RUN_ON_CPU, "2": RUN_ON_GPU}},
            "GPU",
        ),
    ],
)
def test_results_of_another_platform_are_left(
    pipeline: str,
    content: dict[str, dict],
    why: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    for path, value in content.items():
        files.write_json(Path(path), value)
    found = records.find_other_platform(SimpleNamespace(pipeline=pipeline, key="a"))
    assert found is None if why is None else why in found


def test_a_refactoring_is_carried_over_without_training(finished: Project):
    before = lock_entries(finished)
    measured = spread.describe_provenance(before, "fashion_mnist_sample", [MODEL])
    network = {"family": "dense", "parameters": 1, "test_accuracy": {"sd": 0.01}}
    seeds = {"measured_on": measured, "n": 2, "models": {MODEL: network}}
    files.write_json(finished.path(str(spread.SPREAD)), seeds)
    batches = finished.path("stages/training/batches.py")
    batches.rename(batches.with_name("feeding.py"))
    replace(finished, "training.batches import", "training.feeding import")
    replace(finished, "read_ahead(", "prefetch(")
    with open(finished.path("stages/train.py"), "a", encoding="utf-8") as file:
        file.write("# a comment\n")
    # the result is now in the cache alone
    finished.path(f"models/{MODEL}/predictions.npz").unlink()

    assert f"train@{MODEL}" in finished.dvc("status", f"train@{MODEL}")
    assert "make recheck" in finished.command("check_lock", status=1)
    revision = finished.run("git", "rev-parse", "HEAD").strip()
    output = finished.command("recheck", MODEL)
    assert re.search(rf"carried over from {revision[:7]}, \d+ steps equal$", output, re.MULTILINE)

    finished.dvc("checkout", f"train@{MODEL}")
    assert "up to date" in finished.dvc("status", f"train@{MODEL}")
    after = lock_entries(finished)
    assert after[f"train@{MODEL}"]["outs"] == before[f"train@{MODEL}"]["outs"]
    assert after[f"train@{OTHER}"] == before[f"train@{OTHER}"]
    again = spread.describe_provenance(after, "fashion_mnist_sample", [MODEL])
    assert files.read_json(finished.path(str(spread.SPREAD)))["measured_on"] == again != measured
    record = finished.read_json(f"models/{MODEL}/run.json")
    assert record["carried_over"]["from"] == revision and record["seconds"]
    assert "nothing to recheck" in finished.command("recheck", MODEL)


def edit_training_code() -> stale.Training:
    """Put the trainings of the current folder out of date by their code alone; returns MODEL's."""
    with open("stages/training/batches.py", "a", encoding="utf-8") as file:
        file.write("MORE = 1\n")
    digests.refresh()
    (training,) = (found for found in stale.find_trainings(budget.ROOT) if found.key == MODEL)
    return training


def test_parameters_edited_during_the_comparison_prevent_carrying_over(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    training = edit_training_code()
    assert training.changes and not training.other_changes
    before = lock_entries(finished)
    finished.edit_params(lambda params: params["train"].update(epochs=9))
    with pytest.raises(UserError, match=r"params\.yaml: train "):
        stale.carry_over(training)
    assert lock_entries(finished) == before


def test_a_result_that_changed_during_the_comparison_is_not_carried_over(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """Nor kept in DVC's run-cache, from which `dvc repro` would restore it."""
    monkeypatch.chdir(finished.folder)
    training = edit_training_code()
    predictions, runs = Path(f"models/{MODEL}/predictions.npz"), Path(".dvc/cache/runs")
    before = lock_entries(finished), set(runs.rglob("*"))
    predictions.unlink()
    predictions.write_bytes(b"another")
    with pytest.raises(UserError, match=str(predictions)):
        stale.carry_over(training)
    assert (lock_entries(finished), set(runs.rglob("*"))) == before


def test_a_commit_with_a_damaged_lock_file_is_skipped(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    whole = Path("dvc.lock").read_text()
    for text in ("<<<<<<< HEAD\n", whole):
        Path("dvc.lock").write_text(text)
        finished.commit()
    (training,) = (found for found in stale.find_trainings(budget.ROOT) if found.key == MODEL)
    holders = stale.find_holders([training])
    damaged = finished.run("git", "rev-parse", "HEAD~1").strip()
    assert damaged not in holders and finished.run("git", "rev-parse", "HEAD").strip() in holders


def test_a_long_history_is_searched_by_few_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The entry is in the lock file at the second and third of four commits; the first has no lock
    file."""
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.path("file").touch()
    project.commit()
    for command in ("one", "one", "two"):
        project.path("dvc.lock").write_text(
            f"schema: '2.0'\nstages:\n  train@a:\n    cmd: {command}\n"
        )
        project.path("file").write_text(f"{project.path('file').read_text()}more")
        project.commit()
    monkeypatch.chdir(tmp_path)
    count, start = [], git._start
    monkeypatch.setattr(git, "_start", lambda *a, **k: count.append(a) or start(*a, **k))
    training = SimpleNamespace(
        lock="dvc.lock", name="train@a", address="train@a", entry={"cmd": "one"}
    )
    commits = project.run("git", "rev-list", "--reverse", "HEAD").split()
    assert stale.find_holders([training]) == dict.fromkeys(commits[1:3], ["train@a"])
    assert len(count) == 4  # all commits, all lock files, and the content of each of the two


def test_a_shallow_clone_that_lacks_the_results_commit_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = Project(tmp_path / "whole")
    project.folder.mkdir()
    project.run("git", "init", "--quiet")
    for name in "ab":
        project.path(name).touch()
        project.commit()
    url, clone = project.folder.as_uri(), str(tmp_path / "clone")
    project.run("git", "clone", "--quiet", "--depth", "1", url, clone)
    monkeypatch.chdir(project.folder)
    assert "--unshallow" not in choosing.describe_no_revision()
    monkeypatch.chdir(clone)
    assert "git fetch --unshallow" in choosing.describe_no_revision()


def test_digests_of_code_are_refreshed_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    calls = []
    monkeypatch.setattr(digests, "refresh", lambda: calls.append("refresh"))
    monkeypatch.setattr(stale, "find_trainings", lambda path: calls.append(path) or [])
    recheck.main([], "both", dry=True, workers=None)
    assert calls == ["refresh", budget.ROOT, budget.REPLICATIONS]


@pytest.mark.parametrize("text", ['{"n": 2}', "<<<<<<< HEAD\n{}", "[]", "\ufffe{"])
def test_a_damaged_spread_is_refused_before_anything_is_written(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(spread, "SPREAD", tmp_path / "seed_spread.json")
    spread.SPREAD.write_text(text, encoding="utf-16" if "\ufffe" in text else "utf-8")
    calls = []
    monkeypatch.setattr(digests, "refresh", lambda: calls.append("refresh"))
    monkeypatch.setattr(stale, "find_trainings", lambda path: [])
    monkeypatch.setattr(stale, "carry_over", lambda training: calls.append("carry over"))
    with pytest.raises(UserError, match="make seed-spread"):
        recheck.main([], "root", dry=False, workers=None)
    with pytest.raises(UserError, match="make seed-spread"):  # damaged while it was running
        recheck.carry_over(SimpleNamespace())
    assert calls == []
    recheck.main([], "root", dry=True, workers=None)  # which does not need it


def test_the_copy_has_every_file_except_data_sets_outside_git(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    odd = os.fsdecode(b"stages/not utf-8 \xe9.txt")
    Path(odd).write_text("text")
    Path("photographs").mkdir()
    Path("photographs/large.jpg").write_text("pixels")
    finished.edit_params(
        lambda content: content["datasets"]["flowers"].update(source="photographs")
    )
    untracked = sources.find_untracked(params.load())
    copied = sides.copy_working_tree(tmp_path / "copied", untracked)
    assert (copied / odd).read_text() == "text" and (copied / "stages/train.py").exists()
    assert not (copied / "photographs").exists()


def test_trainings_compared_at_once_do_not_share_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel_options, "count_cores", lambda: 100)
    parser = argparse.ArgumentParser()
    recheck.add_options(parser)
    three_threads = SimpleNamespace(train=SimpleNamespace(threads=3))
    for given, count in (([], 33), (["--workers", "50"], 50)):
        asked = parser.parse_args(given).workers
        assert parallel_options.choose_workers(asked, three_threads) == count


def test_stopping_a_recheck_stops_its_comparisons(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    trainings = stale.find_trainings(budget.ROOT)[:2]
    pairs = [(training, "HEAD") for training in trainings]
    began, stopped = threading.Event(), []

    def compare(training, *_: object, stop: threading.Event) -> sides.Outcome:
        if training == trainings[0]:
            began.wait(60)
        else:
            began.set()
            stopped.append(stop.wait(60))
        return sides.Outcome([])

    monkeypatch.setattr(sides, "compare_codes", lambda *given: compare(*given[:-1], stop=given[-1]))
    with running.compare_all(pairs, trainings, params.load(), workers=2) as outcomes:
        assert next(outcomes) == (*pairs[0], sides.Outcome([]))
    assert stopped == [True]


def test_no_room_for_the_copies_is_no_difference_between_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fill(*_: object) -> None:
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])

    monkeypatch.setattr(sides, "compare_codes", fill)
    training = SimpleNamespace(address="train@a")
    with pytest.raises(UserError, match="train@a.*(?s:.)*No space.*(?s:.)*TMPDIR"):
        running.compare_one(training, [], tmp_path, tmp_path, None, tmp_path / "1", None)


def test_a_stopped_comparison_kills_its_process(tmp_path: Path):
    stop = threading.Event()
    stop.set()
    process = processes.start("sleep 1000", tmp_path, subprocess.DEVNULL)
    with pytest.raises(UserError, match="stopped"):
        processes.wait(process, stop)
    assert process.poll() == -signal.SIGKILL


def test_a_changed_result_is_never_carried_over(finished: Project):
    before = lock_entries(finished)
    replace(finished, "default_rng([self.seed, epoch])", "default_rng([epoch, self.seed])")
    finished.edit_params(lambda params: params["architectures"][OTHER].update(dropout=0.2))
    output = finished.command("recheck", status=1)
    assert f"not equal: train@{MODEL}" in output and "model.keras: layers/" in output
    assert f"left: train@{OTHER}: not only code differs: params.yaml" in output
    assert lock_entries(finished)[f"train@{MODEL}"] == before[f"train@{MODEL}"]


def test_a_dry_recheck_carries_nothing_over(monkeypatch: pytest.MonkeyPatch):
    carried, noted = [], []
    monkeypatch.setattr(recheck, "carry_over", carried.append)
    monkeypatch.setattr(records, "note_carried_over", lambda *given: noted.append(given))
    training = SimpleNamespace(address="train@a")
    for differences, dry in ((["a"], True), (["a"], False), ([], True)):
        recheck.settle(training, "HEAD", sides.Outcome(differences, 5), dry)
    assert carried == noted == []
    recheck.settle(training, "HEAD", sides.Outcome([], 5), dry=False)
    assert carried == [training] and noted == [(training, "HEAD", 5)]


def test_code_edited_during_the_comparison_prevents_carrying_over(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    pairs = [(SimpleNamespace(address="train@a"), "HEAD")]

    @contextlib.contextmanager
    def compare_all(*_: object) -> Iterator[Iterator[tuple]]:
        with open("stages/train.py", "a", encoding="utf-8") as file:
            file.write("# edited\n")
        yield iter([(*pairs[0], sides.Outcome([]))])

    monkeypatch.setattr(digests, "refresh", lambda: None)
    monkeypatch.setattr(stale, "find_trainings", lambda _: [])
    monkeypatch.setattr(choosing, "pair_with_revisions", lambda *_: (pairs, {}))
    monkeypatch.setattr(running, "compare_all", compare_all)
    monkeypatch.setattr(recheck, "carry_over", lambda _: pytest.fail("carried over"))
    with pytest.raises(UserError, match="the code changed"):
        recheck.main([], "root", dry=False, workers=1)


@pytest.mark.parametrize(
    ("patience", "epochs", "acted"), [(2, 9, False), (2, 8, True), (None, 9, True)]
)
def test_codes_are_not_equal_unless_early_stopping_acted(
    patience: int | None,
    epochs: int,
    acted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Where the recipe has none, there is nothing to compare."""
    history = f"models/{MODEL}/history.csv"
    cut = budget.Cut(2, 2, steps=4, epochs=9, patience=patience, images={})

    def prepare_side(training, chain, code: Path, folder: Path, *_: object) -> budget.Cut:
        lines = ["epoch,loss", *(f"{epoch},0.5" for epoch in range(1, epochs + 1)), ""]
        files.write_text(folder / history, "\n".join(lines))
        return cut

    monkeypatch.setattr(sides, "prepare_side", prepare_side)
    monkeypatch.setattr(processes, "run", lambda *_: None)
    monkeypatch.setattr(processes, "interrupt", lambda *_: True)
    monkeypatch.setattr(comparing, "compare", lambda *_: [])
    entry = {"cmd": "train", "outs": [{"path": history}]}
    training = SimpleNamespace(
        pipeline=budget.ROOT, key=MODEL, command="train", entry=entry, outs=(history,)
    )
    outcome = sides.compare_codes(training, [], tmp_path, tmp_path, BUDGET, tmp_path, None)
    if acted:
        assert outcome == sides.Outcome([], epochs * cut.steps, (), resumed=True)
    else:
        assert len(outcome.differences) == 1
