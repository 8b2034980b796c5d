"""Return to the last commit: its parameters, its results, and its data and models.

Works whatever state a run left behind, even one that was interrupted or killed. Changes since the
commit in params.yaml, the lock files, data/sources, reports and replications are stashed: ``git
stash pop`` restores them. Code, documents, and what ``dvc add`` tracks are left alone. Data and
models of the commit that are not in DVC's cache are left as they are; ``dvc repro`` makes them
again where they differ.
"""

import tempfile
from pathlib import Path

from commands.pipeline import repository
from commands.pipeline.process import run_dvc
from stages.runtime import cli, experiments, git
from stages.runtime.errors import UserError

WRITTEN = ("params.yaml", "dvc.lock", "data/dvc.lock", "data/sources", "reports", "replications")
WRITTEN_BY_HAND = (
    "dvc.yaml",
    "published.yaml",
    "published_curves.csv",
    "search.csv",
    "from-scratch.txt",
    "README.md",
)


def main() -> None:
    cli.exit_on_signals()
    cli.require_project()
    experiments.refuse_beside_dvc()
    refuse_locked_index()
    return_to_branch()
    refuse_conflicts()
    excluded = [f":(exclude)replications/{name}" for name in WRITTEN_BY_HAND]
    changed = [path for path in WRITTEN if git.list_changed(path, *excluded)]
    if changed:
        stash_changes(changed, excluded)
        print(f"changes stashed, `git stash pop` restores them: {', '.join(changed)}", flush=True)
    print(f"parameters and results are those of the last commit{check_out()}")


def refuse_locked_index() -> None:
    """Raise `UserError` if a git command is running here, or was killed."""
    if (lock := Path(git.run("rev-parse", "--git-path", "index.lock"))).exists():
        raise UserError(
            f"a git command is running here, or was killed and left {lock}: wait for it, or delete "
            "that file. Then start again"
        )


def return_to_branch() -> None:
    """Switch back to the branch that a killed ``dvc exp run`` left, if any. Raises `UserError` if
    commits since then are on no branch."""
    if branch := experiments.find_lost_branch():
        if git.ask("merge-base", "--is-ancestor", "HEAD", branch) is None:
            raise UserError(
                f"a killed `dvc exp run` left the branch {branch}, and the commits since then are "
                "on no branch:\n       `git switch -c NAME` creates one for them. Then start again"
            )
        git.run("switch", branch)
        print(f"back on branch {branch}, which a killed `dvc exp run` had left", flush=True)
    # which such a run leaves too, and DVC takes for HEAD: `dvc exp show` would list the commit of
    # that time, without later experiments
    git.run("update-ref", "-d", "refs/exps/exec/EXEC_BASELINE")


def refuse_conflicts() -> None:
    """Raise `UserError` if a merge, a rebase or ``git stash pop`` left conflicts."""
    # -z: else git would quote names with non-ASCII letters
    if unmerged := git.run("diff", "--name-only", "--diff-filter=U", "--relative", "-z"):
        names = ", ".join(filter(None, unmerged.split("\0")))
        raise UserError(
            f"there is a git conflict in {names}: resolve it and `git add` the file. Or abort what "
            "caused it:\n       `git merge --abort`, `git rebase --abort`; after `git stash pop`, "
            "which keeps the stash: `git checkout HEAD -- FILE`. Then start again"
        )


def stash_changes(paths: list[str], excluded: list[str]) -> None:
    """Stash the changes in `paths`, but not in the pathspecs `excluded`, and restore the last
    commit there. (``git stash push`` would record everything that is staged, and refuse a path
    whose deletion is staged.)"""
    message, author = "stashed by `make undo`", "commands.undo"
    committed = [path for path in paths if git.run("ls-tree", "HEAD", "--", path)]
    present = [path for path in paths if path in committed or Path(path).exists()]
    tracked = [path for path in paths if path in committed or git.run("ls-files", "--", path)]
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", "HEAD", **index)
        if present:
            git.run("add", "--all", "--", *present, *excluded, **index)
        tree = git.run("write-tree", **index)
    staged = git.commit_tree("HEAD^{tree}", ["HEAD"], f"index of {message}", author)
    stash = git.commit_tree(tree, ["HEAD", staged], message, author)
    git.run("stash", "store", "--message", message, stash)
    if tracked:
        git.run("restore", "--source", "HEAD", "--staged", "--worktree", "--", *tracked, *excluded)
    git.run("clean", "-d", "--force", "--quiet", "--", *paths, *excluded)


def check_out() -> str:
    """Restore the commit's data and models as far as DVC's cache holds them. (Without targets, `dvc
    checkout` would delete the folders that are not in the cache.) Returns what could not be
    restored, as the end of a sentence. Raises `UserError` if DVC cannot read the pipeline."""
    with repository.open_repo(None) as repo:
        outs = [  # of the pipeline's stages: none would make again what `dvc add` tracks
            out for out in repo.index.outs if out.stage.cmd and out.use_cache and out.hash_info
        ]
        lacking = {str(out): out for out in outs if out.changed_cache()}
        other = sorted(
            name for name, out in lacking.items() if out.exists and out.changed_checksum()
        )
    held = sorted({str(out) for out in outs} - lacking.keys())
    # --force: overwrite a file that a training left half-written
    if held and run_dvc("checkout", "--force", *held):
        raise UserError("`dvc checkout` failed: see above")
    absent = sum(not Path(name).exists() for name in lacking)
    rest = [f"left as they are: {', '.join(other)}"] if other else []
    rest += [f"missing here: {absent} outputs"] if absent else []
    return (
        f", but DVC's cache lacks some ({'; '.join(rest)}): `dvc repro` makes them" if rest else ""
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
