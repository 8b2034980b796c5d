"""Everyday commands lead to no dead end: real DVC, in a temporary clone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import filelock
import numpy as np
import psutil
import pytest
from PIL import Image
from support.kills import checkpointed, state
from support.processes import eventually
from support.project import AUTHOR, ROOT, Project, ran

from commands import (
    check_lock,
    gate,
    photographs,
    plots_page,
    predict,
    recheck,
    replicate,
    review,
    savedmodel,
    search,
    seed_spread,
    serve,
    undo,
    verify,
)
from commands.parallel import __main__ as parallel
from stages import describe, evaluate, preprocess, report, source, train
from stages.runtime import cli, experiments, git
from stages.runtime.errors import UserError
from stages.storage import files

COMPLAINTS = ("WARNING", "ERROR", "error:", "Traceback")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "my photographs, é & ~"
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def clone(project: Project, folder: Path, *options: str) -> Project:
    project.run("git", "clone", "--quiet", *options, str(project.folder), str(folder))
    return Project(folder)


def use_own(images: Path) -> tuple[str, ...]:
    return ("-S", f'+datasets.mine={{source: "{images}"}}', "-S", "dataset=mine")


def test_switching_to_ones_own_data_set_and_back_works(finished: Project, images: Path):
    finished.dvc("exp", "run", "--name", "of-mine", *use_own(images), "preprocess")
    assert "data/sources/mine.json" in finished.run("git", "ls-files", "--others", "data")
    image = images / "cat/0.png"
    image.write_bytes((images / "cat/1.png").read_bytes())
    output = finished.dvc("repro", "preprocess")
    assert ran(output) == ["source@mine", "download", "split", "preprocess"]

    finished.command("undo")
    assert finished.changes() == [] and ran(finished.dvc("repro")) == []
    assert finished.path("data/raw/fashion_mnist_sample").is_dir()

    output = finished.dvc("exp", "apply", "of-mine")
    assert not any(word in output for word in COMPLAINTS), output
    assert finished.path("data/raw/mine/dataset.json").exists()


def test_undo_with_an_emptied_cache_keeps_the_results_on_disk(finished: Project):
    shutil.rmtree(finished.path(".dvc/cache"))
    before = state(finished)
    assert finished.command("undo").rstrip().endswith("are those of the last commit")
    assert state(finished) == before
    finished.path("exports/README.md").write_text("another one")
    before = state(finished)
    assert "left as they are: exports" in finished.command("undo") and state(finished) == before


def test_a_colleague_pulls_without_warnings_about_stages_that_never_ran(
    finished: Project, tmp_path: Path
):
    shutil.rmtree(finished.path("replications"))  # its stages may never have run anywhere
    finished.run("git", "checkout", "replications")
    finished.dvc("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    finished.commit()
    finished.dvc("push")
    colleague = clone(finished, tmp_path / "clone")
    colleague.run("rm", "-rf", ".dvc/cache")
    assert not any(word in colleague.dvc("pull") for word in COMPLAINTS)
    assert ran(colleague.dvc("repro")) == [] and colleague.changes() == []


def test_a_clone_has_the_same_bytes_and_nothing_to_run_whatever_git_converts(
    finished: Project, tmp_path: Path
):
    windows = clone(finished, tmp_path / "clone", "--config", "core.autocrlf=true")
    assert "w/crlf" not in windows.run("git", "ls-files", "--eol")
    assert ran(windows.dvc("repro", "--dry", "--allow-missing")) == []


def test_a_command_started_in_a_subfolder_is_refused_and_changes_nothing(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """A `.dvc` there would make it a separate repository to DVC."""
    starts = [
        check_lock.main,
        plots_page.main,
        savedmodel.main,
        undo.main,
        verify.main,
        lambda: gate.main("main"),
        lambda: photographs.main(Path(), "small", None, "mine", dry=True),
        lambda: recheck.main([], "root", dry=True, workers=1),
        lambda: replicate.main([], dry=True, commit=False, download=False),
        lambda: review.main("main", None, repro=False),
        lambda: search.main("one", None, None, remote=False, anew=False),
        lambda: seed_spread.main(5),
        lambda: parallel.main([], None, None, remote=False),
    ]
    for folder in ("data", "replications"):
        monkeypatch.chdir(finished.path(folder))
        for start in starts:
            with pytest.raises(UserError, match="folder of the project"):
                start()
    assert finished.changes() == []
    assert not list(finished.folder.rglob("*/.dvc"))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (serve, ["--host", ""]),  # all addresses of the machine
        (predict, ["a.png", "--model="]),
        (parallel, ["report", ""]),  # every stage of every pipeline
        (parallel, ["--scheduler", ""]),  # this machine
        (review, ["--head", ""]),  # the working tree
        (photographs, ["folder", "--weights", ""]),
    ],
    ids=str,
)
def test_an_empty_argument_is_refused(
    command: ModuleType,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    """An unset shell variable would otherwise stand for what the comment says."""
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.run(lambda **_: None, "", command.add_options)
    assert "it is empty" in capsys.readouterr().err


def test_undo_stashes_results_and_leaves_staged_code(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    photo = finished.path("photos/1.jpg")
    photo.parent.mkdir()
    photo.write_text("as added")
    finished.dvc("add", "photos")
    finished.commit()
    photo.write_text("edited")  # no stage would make it again
    finished.run("git", "config", "status.showUntrackedFiles", "no")
    finished.path("stages/train.py").write_text("# mine\n")
    finished.path("reports/new.json").write_text("{}")
    finished.edit_params(lambda params: params.update(seed=5))
    finished.run("git", "add", "stages/train.py", "params.yaml")
    finished.run("git", "rm", "--quiet", "dvc.lock")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # no user name, as in a container
    finished.run("git", "config", "user.useConfigOnly", "true")
    finished.command("undo")
    assert finished.changes() == ["M  stages/train.py"] and photo.read_text() == "edited"
    assert not finished.path("reports/new.json").exists()
    finished.run("git", "restore", "--staged", "--worktree", "stages/train.py")
    finished.run("git", "stash", "pop")
    changed = {line[3:] for line in finished.changes()}
    assert changed == {"params.yaml", "dvc.lock", "reports/new.json"}
    assert finished.path("params.yaml").read_text().count("seed: 5") == 1


def test_changed_files_are_listed_by_their_exact_names(tmp_path: Path):
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.path("a b.txt").touch()
    project.commit()
    project.path("a b.txt").write_text("changed")
    project.path("é\n.txt").touch()
    assert git.list_changed(folder=tmp_path) == ["a b.txt", "é\n.txt"]


def test_a_project_without_a_git_folder_says_to_clone_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="git clone"):
        cli.require_project()
    (tmp_path / ".git").write_text("gitdir: nowhere\n")  # there, but git refuses it
    with pytest.raises(UserError) as error:
        cli.require_project()
    assert "git clone" not in str(error.value)


def test_undo_stashes_nothing_while_git_is_locked(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    finished.edit_params(lambda params: params.update(seed=5))
    lock = finished.path(".git/index.lock")
    lock.touch()
    monkeypatch.chdir(finished.folder)
    with pytest.raises(UserError, match="index.lock"):
        undo.main()
    assert not finished.run("git", "stash", "list")
    lock.unlink()
    undo.main()
    assert finished.changes() == []


def test_undo_names_a_conflict(finished: Project, monkeypatch: pytest.MonkeyPatch):
    def set_seed(seed: int) -> None:
        finished.edit_params(lambda params: params.update(seed=seed))

    set_seed(1)
    finished.run("git", "stash")
    set_seed(2)
    finished.commit()
    finished.run("git", "stash", "pop", status=1)
    monkeypatch.chdir(finished.folder)
    with pytest.raises(UserError, match="conflict in params.yaml"):
        undo.main()
    finished.run("git", "checkout", "HEAD", "--", "params.yaml")  # one of the ways that it names
    undo.main()
    assert finished.changes() == [] and finished.run("git", "stash", "list")


def test_undo_names_conflicts_by_the_exact_names_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    (tmp_path / ".dvc").mkdir()
    project.path("dvc.yaml").touch()
    for text in ("one", "two"):
        project.path("é b.txt").write_text(text)
        project.commit()
    project.run("git", "checkout", "--quiet", "HEAD~1")
    project.path("é b.txt").write_text("three")
    project.commit()
    project.run("git", *AUTHOR, "cherry-pick", "@{-1}", status=1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"conflict in é b\.txt: resolve"):
        undo.main()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository of two commits on main that undo takes for a project, and whose folder is the
    current one."""
    project = Project(tmp_path / "bare")
    project.path(".dvc").mkdir(parents=True)
    project.path("dvc.yaml").touch()
    monkeypatch.chdir(project.folder)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    for text in ("one", "two"):
        project.path("file").write_text(text)
        project.commit()
    return project


def test_undo_leaves_commits_alone_that_a_killed_experiment_left_on_no_branch(bare: Project):
    first, second = bare.run("git", "rev-list", "--reverse", "HEAD").split()
    bare.run("git", "update-ref", "refs/exps/exec/EXEC_HEAD", first)
    bare.run("git", "checkout", "--quiet", second[:10])  # as a person does it
    assert experiments.find_lost_branch() is None
    bare.run("git", "checkout", "--quiet", "main")
    bare.run("git", "checkout", "--quiet", first)  # as DVC does it
    assert experiments.find_lost_branch() == "main"
    bare.path("file").write_text("three")
    bare.commit()
    head = bare.run("git", "rev-parse", "HEAD")
    with pytest.raises(UserError, match="(?s)main.*git switch -c"):
        undo.main()
    assert bare.run("git", "rev-parse", "HEAD") == head


def test_undo_is_refused_beside_a_dvc_that_works_in_the_same_project(
    bare: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = tmp_path / "other"
    (other / ".dvc").mkdir(parents=True)
    cat = shutil.which("cat")  # it waits for its input
    with subprocess.Popen(["dvc"], executable=cat, cwd=bare.folder, stdin=subprocess.PIPE):
        with pytest.raises(UserError, match="DVC is running"):
            undo.main()
        monkeypatch.chdir(other)
        experiments.refuse_beside_dvc()
    monkeypatch.chdir(bare.folder)
    experiments.refuse_beside_dvc()


def test_undo_leaves_what_people_write_about_replications_alone(
    bare: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(undo, "check_out", lambda: "")
    by_hand = ("dvc.yaml", "published.yaml", "published_curves.csv", "search.csv")
    by_hand += ("from-scratch.txt", "README.md")
    folder = bare.path("replications")
    folder.mkdir()

    def write(text: str) -> None:
        for name in (*by_hand, "params.yaml"):
            (folder / name).write_text(text)

    write("committed")
    bare.commit()
    write("edited")
    undo.main()
    left = [path.name for path in folder.iterdir() if path.read_text() == "edited"]
    assert sorted(left) == sorted(by_hand)


def test_plots_drawn_in_a_subfolder_are_no_change_to_git(finished: Project):
    finished.dvc("--cd", "reports", "plots", "diff")
    assert finished.path("reports/dvc_plots/index.html").exists() and finished.changes() == []


def test_values_can_be_set_as_the_documentation_says(fresh: Project):
    given = {
        "+train.optimizer_arguments={beta_1: 0.85}": "    beta_1: 0.85",
        "preprocess.pad_value=null": "  pad_value:",
        "models=[mnist-dense]": "- mnist-dense",
        'datasets.mnist.source="/a b/é & ~/c"': "    source: /a b/é & ~/c",
    }
    options = [option for value in given for option in ("-S", value)]
    fresh.dvc("exp", "run", *options, "data/dvc.yaml:check", status=255)
    lines = fresh.path("params.yaml").read_text(encoding="utf-8").splitlines()
    assert set(given.values()) <= {line.split(" #")[0].rstrip() for line in lines}


def test_a_data_set_without_an_entry_is_refused_by_its_line(finished: Project):
    output = finished.dvc("exp", "run", "-S", "dataset=cifar-10", status=255)
    assert re.search(r"params\.yaml:\d+: dataset: 'cifar-10' is not a key of datasets", output)


def test_a_source_that_does_not_exist_is_refused_before_dvc_looks_for_it(fresh: Project):
    name = "fashion_mnist_sample"
    fresh.edit_params(lambda params: params["datasets"][name].update(source="nowhere.npz"))
    output = fresh.dvc("repro", status=255)
    assert re.search(rf"error: .*datasets\.{name}\.source: .*'nowhere\.npz'", output)
    # fingerprint depends on no data: DVC may run it before or after
    assert {*ran(output)} <= {"check", "fingerprint"}


def test_a_stage_started_by_hand_refuses_data_made_with_other_parameters(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)

    def refused(change, stage, key: str) -> None:
        finished.edit_params(change)
        with pytest.raises(UserError, match=f"(?s)another value of {key}.*dvc repro"):
            stage()
        finished.run("git", "checkout", "--quiet", ".")

    def training() -> None:
        train.main("mnist-dense")

    refused(lambda params: params["preprocess"].update(image_size=32), training, "prep")
    refused(lambda params: params.update(dataset="mnist"), training, "dataset")
    refused(lambda params: params.update(seed=1), training, "seed")
    refused(lambda params: params["split"].update(validation=0.3), preprocess.main, "split")
    refused(lambda params: params.update(seed=1), describe.main, "seed")
    refused(lambda params: params.update(seed=1), report.main, "seed")
    refused(lambda params: params.update(seed=1), lambda: evaluate.main("mnist-dense"), "seed")
    path = finished.path("models/mnist-dense/training.json")
    trained = files.read_json(path)
    files.write_json(path, trained | {"dataset": "mnist"})
    refused(lambda params: None, lambda: evaluate.main("mnist-dense"), "dataset")
    files.write_json(path, trained | {"seed": 2})
    refused(lambda params: None, lambda: evaluate.main("mnist-dense"), "seed")
    name = "pretrained-small"
    source = finished.path(f"data/weights/{name}/source.json")
    files.write_json(source, {"weights": "imagenet"})
    refused(
        lambda params: params["architectures"][name].update(weights="mine.h5"),
        lambda: train.main(name),
        rf"architectures\.{name}\.weights",
    )
    assert finished.changes() == []


def test_a_stage_started_by_hand_says_what_it_lacks(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    selected = finished.read_json("reports/selection.json")["selected"]
    finished.edit_params(lambda params: params["models"].remove(selected))
    with pytest.raises(UserError, match=f"{selected}.*dvc repro"):
        report.main()
    finished.edit_params(lambda params: params["datasets"]["mnist"].update(source="nowhere.npz"))
    with pytest.raises(UserError, match=r"datasets\.mnist\.source: nowhere\.npz"):
        source.main("mnist")
    finished.run("git", "checkout", "--quiet", ".")


def test_undo_recovers_from_a_training_whose_terminal_was_closed(finished: Project):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup, child processes would ignore it
    experiment = ("exp", "run", "-S", "train.epochs=60", "-S", "train.early_stopping.patience=50")
    run = finished.start(sys.executable, "-m", "dvc", *experiment)
    eventually(lambda: checkpointed(finished))
    stages = psutil.Process(run.pid).children(recursive=True)
    os.kill(run.pid, signal.SIGHUP)
    run.communicate()
    psutil.wait_procs(stages)
    finished.path("stages/train.py").open("a").write("# work in progress\n")

    assert "git switch main" in finished.stage("check")
    assert "back on branch main" in finished.command("undo")
    assert finished.run("git", "symbolic-ref", "--short", "HEAD").strip() == "main"
    assert finished.changes() == [" M stages/train.py"]
    assert ran(finished.dvc("repro")) == ["fingerprint"]  # the work in progress is a comment
    assert "git switch" not in finished.stage("check")
    finished.run("git", "checkout", "--quiet", "dvc.lock")  # the digest of the comment's code
    finished.run("git", "stash", "pop")
    assert "epochs: 60" in finished.path("params.yaml").read_text()
    finished.commit()
    _, last = json.loads(finished.dvc("exp", "show", "--json"))
    assert last["rev"] == finished.run("git", "rev-parse", "HEAD").strip()


def test_a_command_that_already_runs_here_is_refused_by_its_lock(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    shutil.copytree(ROOT / "searches", "searches")
    for module, work, arguments in (
        (parallel, "run", ([], 1, None, False)),
        (replicate, "run_queue", ([], True, False, False)),
        (search, "run", ("fashion-batch-norm", 1, None, False, False)),
        (seed_spread, "measure", (2,)),
    ):
        lock = seed_spread.LOCK if module is seed_spread else module.SCRATCH / "lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(module, work, lambda *_: pytest.fail("it started"))
        with filelock.FileLock(lock), pytest.raises(UserError, match=re.escape(str(lock))):
            module.main(*arguments)
