"""Stages in parallel: real DVC and a real Dask cluster of two processes, in a pipeline like ours
whose stages take no time."""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from support.example import load_example, read_example
from support.processes import command_of, eventually, press_ctrl_c, processes_in
from support.project import ROOT, Project, add_failing_hook, copy, ran

from commands.parallel import cluster, exchange, provision, records, worker
from commands.parallel.__main__ import check_names
from commands.parallel.options import add_workers_option, require_remote
from commands.pipeline import graph, snapshot, sources
from stages.params.schema import Parallel
from stages.runtime import processor
from stages.runtime.errors import UserError

PARALLEL = [sys.executable, "-m", "commands.parallel", "--workers", "2"]
PIPELINE = """
stages:
  download:  # its source lies outside the repository: it runs in the working tree
    cmd: cp ../source raw
    deps: [../source]
    outs: [raw]
  train:
    matrix:
      model: [a, b]
    cmd: sh train.sh ${item.model} ${seed}
    deps: [raw, train.sh]
    params: [seed]
    outs: ['models/${item.model}/weights']
  evaluate:
    matrix:
      model: [a, b]
    cmd: wc -c models/${item.model}/weights > reports/${item.model}.txt
    deps: ['models/${item.model}/weights']
    outs:
    - reports/${item.model}.txt:
        cache: false
  compare:
    cmd: cat reports/*.txt > summary
    deps: [reports]
    outs:
    - summary:
        cache: false
  export:  # reads more than it depends on, as ours does
    cmd: cat models/a/weights models/b/weights > exported
    deps: [summary]
    outs: [exported]
"""
# Dask sets them in its own processes
VARIABLES = "$OMP_NUM_THREADS,$MKL_NUM_THREADS,$PYTHONHASHSEED"
TRAIN = (
    f"cat raw > models/$1/weights && echo $2 {VARIABLES} >> models/$1/weights && "
    "echo $1 > models/$1/run.json\n"
)
FAILING = "test $1 = a || { echo no such luck; exit 3; }\n" + TRAIN
WAITING = "touch {0}/waits.$1.$$; until test -e {0}/go; do sleep 0.05; done\n" + TRAIN


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("parallel") / "project"
    for part in ("stages", "commands"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", folder)
    (folder / "params.yaml").write_text(read_example(), encoding="utf-8")
    for model in "ab":
        (folder / f"models/{model}").mkdir(parents=True)
        (folder / f"models/{model}/.gitignore").write_text("*\n!.gitignore\n")
    (folder / "reports").mkdir()
    (folder / "reports/.gitkeep").touch()
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "train.sh").write_text(TRAIN)
    (folder / ".gitignore").write_text("/raw\n__pycache__\n")
    project = Project(folder)
    resources = {"train": {"memory": None, "gpu": 0}}
    project.edit_params(
        lambda params: params["parallel"].update(here=["download"], resources=resources)
    )
    project.run("git", "init", "--quiet")
    project.dvc("init", "--quiet")
    project.commit()
    return project


@pytest.fixture
def project(committed: Project, tmp_path: Path) -> Project:
    (tmp_path / "source").write_text("pixels\n")
    return copy(committed, tmp_path)


def test_a_parallel_run_of_uncommitted_changes_ends_as_dvc_repro_does(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # it orders DVC's new entries in dvc.lock
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    add_failing_hook(tmp_path, monkeypatch)  # for the workers' clones
    project.edit_params(lambda params: params.update(seed=7))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/source").write_text("pixels\n")
    serial = copy(project, tmp_path / "other")
    serial.dvc("repro")

    output = project.run(*PARALLEL)
    assert ran(output) == ["download"]
    assert "6 of 6 stages done" in output
    assert ran(project.dvc("repro")) == []
    assert project.changes() == serial.changes()
    for file in (
        "dvc.lock",
        "models/a/weights",
        "models/a/run.json",
        "reports/a.txt",
        "summary",
        "exported",
    ):
        assert project.path(file).read_bytes() == serial.path(file).read_bytes()


@pytest.mark.parametrize("name", ["a # b", "a, b", "[a]", "it's", 'a "b"', "100% $c = d"])
def test_the_clones_use_the_projects_cache_whatever_its_path(tmp_path: Path, name: str):
    """A path cut at ``#`` would be a folder outside the project."""
    from dvc.config import Config

    folder = tmp_path / ".dvc"
    folder.mkdir()
    text = provision.format_config(tmp_path / name)
    (folder / "config.local").write_text(text)
    assert Config(str(folder))["cache"]["dir"] == str(tmp_path / name)


def test_a_failed_stage_stops_only_what_depends_on_it(project: Project):
    project.path("train.sh").write_text(FAILING)
    output = project.run(*PARALLEL, status=1)
    assert (
        "error: train@b failed with exit status" in output
        and "not run because of that: evaluate@b, compare, export" in output
    )
    log = ".dvc/tmp/parallel/logs/train@b.log"
    assert log in output and "no such luck" in project.path(log).read_text()
    assert project.path("reports/a.txt").exists() and not project.path("reports/b.txt").exists()


def test_a_file_that_changes_during_the_run_stops_collecting_and_hides_no_failure(project: Project):
    project.path("train.sh").write_text(f"touch {project.folder}/new\n{FAILING}")
    output = project.run(*PARALLEL, status=1)
    assert "files changed meanwhile (new)" in output and "train@b failed" in output
    record, weights = project.path("models/a/run.json"), project.path("models/a/weights")
    assert not record.exists() and not weights.exists()
    # the next run takes the result from the cache, and the record with it
    project.path("new").unlink()
    project.run(*PARALLEL, "train@a")
    assert record.exists() and weights.exists()


def test_an_interrupted_run_leaves_nothing_on_a_cluster_that_stays_up(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONHASHSEED", "0")  # Dask changes it in this process
    project.path("train.sh").write_text(WAITING.format(tmp_path))
    (tmp_path / "scratch").mkdir()
    with cluster.connect(None, 2, tmp_path / "scratch") as client:
        run = project.start(*PARALLEL[:-2], "--scheduler", client.scheduler.address)
        eventually(lambda: len(list(tmp_path.glob("waits.*"))) == 2)
        assert list(tmp_path.glob("scratch/**/clone-*"))
        run.send_signal(signal.SIGINT)
        run.communicate()
        assert run.returncode == 130
        plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
        assert len(plugins) == 2 and "parallel-" not in str(plugins)
        assert not list(tmp_path.glob("scratch/**/parallel-*"))
        assert not processes_in(tmp_path / "scratch")


def test_a_shallow_clone_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project.path("new.txt").write_text("new")
    project.commit()
    project.run(
        "git",
        "clone",
        "--quiet",
        "--depth",
        "1",
        f"file://{project.folder}",
        str(tmp_path / "shallow"),
    )
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(UserError, match="git fetch --unshallow"):
        snapshot.make_bundle("HEAD")


def test_ctrl_c_during_a_stage_in_the_working_tree_starts_no_other(project: Project):
    path = project.path("dvc.yaml")
    path.write_text(path.read_text().replace("cmd: cp", "cmd: sleep 300 && cp"))
    run = project.start(*PARALLEL)
    processes = psutil.Process(run.pid).children
    eventually(lambda: any("sleep" in command_of(process) for process in processes(recursive=True)))
    press_ctrl_c(run)
    output, _ = run.communicate()
    assert run.returncode == 130 and ran(output) == ["download"], output
    assert not processes_in(project.folder)


def test_another_worker_takes_over_from_a_lost_one_and_ctrl_c_ends_all(
    project: Project, tmp_path: Path
):
    project.path("train.sh").write_text(WAITING.format(tmp_path))

    def starts() -> dict[str, list[int]]:
        marks = [path.suffixes for path in tmp_path.glob("waits.*")]
        return {
            model: sorted(int(number[1:]) for suffix, number in marks if suffix == f".{model}")
            for model in "ab"
        }

    run = subprocess.Popen(
        PARALLEL,
        cwd=project.folder,
        env=project.environment(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    eventually(lambda: all(starts().values()))
    first = starts()
    stage = psutil.Process(first["a"][0])
    worker = next(
        process for process in stage.parents() if "spawn_main" in " ".join(process.cmdline())
    )
    worker.kill()
    # another worker starts it again, and its process ends with the lost worker
    eventually(lambda: len(starts()["a"]) == 2)
    eventually(lambda: not stage.is_running())
    assert starts()["b"] == first["b"]

    os.killpg(run.pid, signal.SIGINT)  # as a terminal does
    output, _ = run.communicate()
    assert run.returncode == 130 and "Traceback" not in output
    eventually(lambda: not processes_in(project.folder))
    (tmp_path / "go").touch()
    output = project.dvc("repro", "train@a")
    assert ran(output) == ["train@a"]


def test_each_gpu_belongs_to_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    options = [worker["options"] for worker in cluster.specify_workers(3, tmp_path).values()]
    assert [option["env"]["CUDA_VISIBLE_DEVICES"] for option in options] == ["3", "5", "-1"]
    assert [option["resources"]["gpu"] for option in options] == [1, 1, 0]


def test_workers_share_the_memory_that_a_container_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cluster, "MEMORY_LIMIT", 6e9)
    options = [worker["options"] for worker in cluster.specify_workers(3, tmp_path).values()]
    assert [option["resources"]["memory"] for option in options] == [2, 2, 2]


def test_cores_are_counted_within_a_containers_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(processor, "QUOTA", tmp_path / "cpu.max")
    assert processor.count_cores() == 8
    for quota, cores in (("max 100000", 8), ("250000 100000", 2), ("10000 100000", 1)):
        processor.QUOTA.write_text(quota)
        assert processor.count_cores() == cores


def test_a_resource_that_no_worker_has_is_refused(project: Project):
    project.edit_params(lambda params: params["parallel"]["resources"]["train"].update(gpu=1000))
    output = project.run(*PARALLEL, status=1)
    assert "train@a" in output and "gpu 1000" in output and "Traceback" not in output


def test_an_unknown_stage_is_refused(project: Project):
    project.edit_params(lambda params: params["parallel"].update(here=["dwnload"]))
    assert "Did you mean download?" in project.run(*PARALLEL, status=1)
    assert not project.path("raw").exists()


def test_a_stage_runs_in_the_working_tree_only_with_those_that_it_depends_on(project: Project):
    """Otherwise it would run before them."""
    project.edit_params(lambda params: params["parallel"].update(here=["download", "evaluate"]))
    output = project.run(*PARALLEL, status=1)
    assert all(name in output for name in ("parallel.here", "evaluate", "train"))
    assert not project.path("raw").exists()


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({"here": ["data/dvc.yaml:download"]}, {"here": ["download"]}),
        ({"beyond": ["train@mnist-dense"]}, {"beyond": ["train"]}),
        ({"resources": {"download": {}}}, {"resources": {"data/dvc.yaml:download@mnist": {}}}),
    ],
)
def test_a_name_without_effect_is_refused(change: dict, right: dict):
    """`here` and `beyond` take stages by name, `resources` by address."""
    plan = graph.Plan({}, set(), ["data/dvc.yaml:download", "train"])
    nothing = {"resources": {}, "beyond": [], "here": []}
    check_names(plan, Parallel.model_construct(**nothing | right))
    with pytest.raises(UserError, match="is not (a|the name of a) stage"):
        check_names(plan, Parallel.model_construct(**nothing | change))


def test_the_snapshot_holds_new_files_and_leaves_the_index_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project.folder)
    head, commit = snapshot.commit(snapshot.write_tree())
    assert head == commit
    project.path("new.txt").write_text("new")
    head, commit = snapshot.commit(snapshot.write_tree())
    assert project.run("git", "show", f"{commit}:new.txt") == "new"
    assert project.changes() == ["?? new.txt"]


def test_the_snapshot_holds_a_change_within_the_instant_of_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of equal size and time: git then compares the content, unless its index is newer."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "core.trustctime", "false")
    when = (10**9, 10**9)
    for text in ("seed: 1", "seed: 2"):
        Path("params.yaml").write_text(text)
        os.utime("params.yaml", when)
        if text == "seed: 1":
            project.commit()
            os.utime(".git/index", when)
    content = snapshot.write_tree()
    assert project.run("git", "show", f"{content}:params.yaml") == "seed: 2"


def test_files_that_differ_between_snapshots_are_listed_by_their_exact_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Project(tmp_path).run("git", "init", "--quiet")
    before = snapshot.write_tree()
    Path("a b.txt").touch()
    Path("é\n.txt").touch()
    assert snapshot.list_changed_files(before, snapshot.write_tree()) == ["a b.txt", "é\n.txt"]


def test_the_snapshot_leaves_out_data_sets_that_are_not_in_git(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(project.folder)
    (tmp_path / "elsewhere").mkdir()
    project.path("link").symlink_to(tmp_path / "elsewhere")
    absolute = str(project.path("named absolutely"))
    folders = ["photographs [1]", absolute, "ignored", "../outside", "link/below", "committed"]
    for folder in folders:
        project.path(folder).mkdir()
        project.path(f"{folder}/large.jpg").write_text("pixels")
    project.path(".gitignore").open("a").write("/ignored\n")
    project.run("git", "add", "committed")
    untracked = sources.choose_untracked(folders)
    assert untracked == ["named absolutely", "photographs [1]"]
    content = snapshot.write_tree(untracked)
    names = project.run("git", "ls-tree", "-r", "--name-only", content).splitlines()
    assert [name for name in names if "large" in name] == ["committed/large.jpg"]


def test_a_remote_counts_only_if_clones_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo:
        for level, url, fault in (
            ("local", "/store", "no default remote"),
            ("repo", "../store", "relative path"),
        ):
            with repo.config.edit(level) as config:
                config["remote"]["store"] = {"url": url}
                config["core"]["remote"] = "Store"
            with pytest.raises(UserError, match=fault):
                require_remote()
        with repo.config.edit("repo") as config:
            config["remote"]["store"]["url"] = "/store"
        require_remote()


def test_a_remote_that_takes_nothing_and_a_damaged_configuration_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    stage = "stages:\n  copy:\n    cmd: cp one two\n    deps: [one]\n    outs: [two]\n"
    Path("dvc.yaml").write_text(stage)
    Path("one").write_text("text")
    with Repo.init(no_scm=True) as repo:
        repo.reproduce("copy")
        with repo.config.edit("repo") as config:
            config["remote"]["store"] = {"url": "/proc/store"}
            config["core"]["remote"] = "store"
    exchange.share_all(["copy"], remote=False)
    with pytest.raises(UserError, match="remote does not take"):
        exchange.share_all(["copy"], remote=True)
    Path(".dvc/config").write_text("[core\n")
    with pytest.raises(UserError, match="cannot read its configuration"):
        require_remote()


def test_a_worker_lost_without_a_message_counts_as_failed():
    future = SimpleNamespace(status="error", exception=lambda: MemoryError())
    assert cluster.describe_loss(future) == "MemoryError"


def test_a_letter_read_in_two_parts_reaches_the_log_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The log ends in the middle of another one."""
    events, read = [], os.pread
    fake = SimpleNamespace(
        name=0,
        log_event=lambda _, event: events.append(event),
        state=SimpleNamespace(tasks={"key": SimpleNamespace(state="executing")}),
    )
    # not of the module: if a test before had a scheduler in this process, it unpickled the class,
    # and its methods got globals of their own
    monkeypatch.setitem(worker.Clones.run_task.__globals__, "get_worker", lambda: fake)
    monkeypatch.setattr(worker.Clones, "open_clone", lambda self: tmp_path)
    monkeypatch.setattr(os, "pread", lambda file, _, start: read(file, 1, start))
    (tmp_path / "talk.py").write_text(
        "import pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).with_name('result.json').write_text('{}')\n"
        "sys.stdout.buffer.write('é×'.encode()[:-1])\n"
    )
    clones = worker.Clones("run", b"", "", "", "", None, {})
    request = {"module": "talk", "address": "train@a"}
    assert clones.run_task("key", request, gpu=False) == {"status": 0}
    assert "".join(event.get("text", "") for event in events) == "é\N{REPLACEMENT CHARACTER}"


def test_a_lost_scheduler_is_named():
    with pytest.raises(UserError, match="scheduler"):
        cluster.describe_loss(SimpleNamespace(status="cancelled"))
    with pytest.raises(UserError, match="scheduler"):
        cluster.list_offers(SimpleNamespace(scheduler_info=lambda n_workers: {}))


def test_a_half_written_entry_of_the_run_cache_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """DVC fails on a folder that its writer has not filled yet."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    Path("one").write_text("text")
    stage = "stages:\n  copy:\n    cmd: cp one two\n    deps: [one]\n    outs: [two]\n"
    Path("dvc.yaml").write_text(stage)
    calls = []
    with Repo.init(no_scm=True) as repo:
        repo.reproduce("copy")
        (entry,) = (path for path in Path(repo.stage_cache.cache_dir).rglob("*") if path.is_file())
        for path in (entry, Path("two"), Path("dvc.lock")):
            path.unlink()
        real = repo.reproduce

        def reproduce(*arguments, **options):
            calls.append(arguments)
            try:
                return real(*arguments, **options)
            finally:
                shutil.rmtree(entry.parent, ignore_errors=True)

        monkeypatch.setattr(repo, "reproduce", reproduce)
        exchange.reproduce(repo, "copy", remote=False)
    assert len(calls) == 2 and Path("two").read_text() == "text"


def test_an_address_without_a_scheduler_is_named_and_no_thread_keeps_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cluster, "WAIT", 0.2)
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in ("nonsense", f"tcp://127.0.0.1:{silent.getsockname()[1]}"):
            with (
                pytest.raises(UserError, match=f"at {address}"),
                cluster.connect(address, 1, tmp_path),
            ):
                pass
    assert threading.active_count() == threads


def test_a_stage_starts_only_where_enough_is_left_beside_those_that_run():
    offers = [{"threads": 1, "gpu": 1}, {"threads": 1, "gpu": 0}]
    for needs, taken, starts in (
        ({"gpu": 1}, [], True),
        ({"gpu": 1}, [{}], True),
        ({"gpu": 1}, [{"gpu": 1}], False),
        ({}, [{"gpu": 1}], True),
        ({}, [{"gpu": 1}, {}], False),
        ({"gpu": 2}, [], False),  # both workers together have no more than one
    ):
        assert cluster.can_start(needs, taken, offers) == starts, (needs, taken)


def test_the_record_of_a_worker_is_written_unless_a_newer_one_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  train@a:\n    cmd: one\n")
    stage = SimpleNamespace(lock="dvc.lock", name="train@a", address="train@a")
    here = Path("run.json")

    def restore(entry: dict[str, str], seconds: int) -> str:
        """The record after `restore`, with one here that is this much newer."""
        here.write_text("here")
        records.keep(stage, entry, {"run.json": "of the worker"})
        (kept,) = records.FOLDER.iterdir()
        os.utime(kept, (1000, 1000))
        os.utime(here, (1000 + seconds, 1000 + seconds))
        records.restore()
        return here.read_text()

    assert restore({"cmd": "one"}, seconds=-1) == "of the worker"
    assert restore({"cmd": "one"}, seconds=1) == "here"
    assert restore({"cmd": "another"}, seconds=-1) == "here"


def test_a_worker_that_does_not_see_the_cache_names_it(tmp_path: Path):
    clones = worker.Clones("run", b"", "", "", "", str(tmp_path / "cache/mark"), {})
    clones.folder = tmp_path
    with pytest.raises(RuntimeError, match=re.escape(str(tmp_path / "cache"))):
        clones.open_clone()


@pytest.mark.parametrize("workers", ["0", "1025"])
def test_no_worker_and_too_many_are_refused(workers: str):
    parser = argparse.ArgumentParser()
    add_workers_option(parser, "processes")
    assert parser.parse_args(["--workers", "1024"]).workers == 1024
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--workers", workers])


def test_workers_that_share_no_folder_exchange_results_through_the_remote(
    project: Project, tmp_path: Path
):
    store = tmp_path / "store"
    project.dvc("remote", "add", "--quiet", "--default", "store", str(store))
    project.commit()
    output = project.run(*PARALLEL, "--remote")
    assert ran(output) == ["download"]  # the results of all others come from the remote
    assert "6 of 6 stages done" in output and ran(project.dvc("repro")) == []
    seed = load_example().seed
    for path in ("models/a/weights", "models/b/weights"):
        assert project.path(path).read_text().startswith(f"pixels\n{seed} ")
    assert len([path for path in store.rglob("*") if path.is_file()]) > 6
