"""Return to the last commit: its parameters, its results, and its data and models.

Works after whatever a run left behind, such as one that was interrupted or killed. What was changed
since the commit, in params.yaml, the lock files, data/sources, reports and replications, is kept:
``git stash pop`` brings it back. Code and documents are left alone. Data and models that are not in
DVC's cache stay as they lie here; ``dvc repro`` makes those again that are not the commit's.
"""

import tempfile
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from commands.pipeline.process import run_dvc
from stages.runtime import cli, experiments, git
from stages.runtime.errors import UserError

WRITTEN = ("params.yaml", "dvc.lock", "data/dvc.lock", "data/sources", "reports", "replications")
WRITTEN_BY_HAND = ("dvc.yaml", "published.yaml", "from-scratch.txt", "README.md")


def main() -> None:
    cli.exit_on_sigterm()
    cli.require_project()
    experiments.refuse_beside_dvc()
    if (lock := Path(git.run("rev-parse", "--git-path", "index.lock"))).exists():
        raise UserError(
            f"a git command runs here, or was killed and left {lock}: wait for it, or delete that "
            "file. Then start again"
        )
    if branch := experiments.find_lost_branch():
        if git.ask("merge-base", "--is-ancestor", "HEAD", branch) is None:
            raise UserError(
                f"a `dvc exp run` that was killed left the branch {branch}, and commits since then "
                "are on none:\n       `git switch -c NAME` makes a branch of them. Then start again"
            )
        git.run("switch", branch)
        print(f"on branch {branch} again, which a `dvc exp run` that was killed had left")
    if unmerged := git.run("diff", "--name-only", "--diff-filter=U", "--relative"):
        raise UserError(
            f"git holds a conflict in {', '.join(unmerged.splitlines())}: resolve it and `git add` "
            "the file. Or leave what began it:\n       `git merge --abort`, `git rebase --abort`; "
            "after `git stash pop`, which keeps the stash: `git checkout HEAD -- FILE`. Then start "
            "again"
        )
    but = [f":(exclude)replications/{name}" for name in WRITTEN_BY_HAND]
    changed = [path for path in WRITTEN if git.list_changed(path, *but)]
    if changed:
        put_aside(changed, but)
        print(f"changes put aside, `git stash pop` brings them back: {', '.join(changed)}")
    print(f"parameters and results are those of the last commit{check_out()}")


def put_aside(paths: list[str], but: list[str]) -> None:
    """Stash what was changed in `paths` without `but`, and bring it back to the last commit. (``git
    stash push`` would record everything that is staged, and refuse a path whose deletion is
    staged.)"""
    message = "what `make undo` put aside"
    author = ("-c", "user.name=commands.undo", "-c", "user.email=undo@localhost")
    committed = [path for path in paths if git.run("ls-tree", "HEAD", "--", path)]
    present = [path for path in paths if path in committed or Path(path).exists()]
    tracked = [path for path in paths if path in committed or git.run("ls-files", "--", path)]
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", "HEAD", **index)
        if present:
            git.run("add", "--all", "--", *present, *but, **index)
        tree = git.run("write-tree", **index)
    staged = git.run(
        *author, "commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", f"index of {message}"
    )
    stash = git.run(*author, "commit-tree", tree, "-p", "HEAD", "-p", staged, "-m", message)
    git.run("stash", "store", "--message", message, stash)
    if tracked:
        git.run("restore", "--source", "HEAD", "--staged", "--worktree", "--", *tracked, *but)
    git.run("clean", "-d", "--force", "--quiet", "--", *paths, *but)


def check_out() -> str:
    """Bring the data and models of the commit that DVC's cache holds. Without targets, `dvc
    checkout` would delete the folders that it does not hold. Returns what is not the commit's then,
    as the end of a sentence. Raises `UserError` where DVC cannot read the pipeline."""
    try:
        with Repo() as repo:
            outs = [out for out in repo.index.outs if out.use_cache and out.hash_info]
            lacking = {str(out): out for out in outs if out.changed_cache()}
            other = sorted(
                name for name, out in lacking.items() if out.exists and out.changed_checksum()
            )
    except DvcException as error:
        raise UserError(f"DVC cannot read the pipeline: {error}") from None
    held = sorted({str(out) for out in outs} - lacking.keys())
    # --force: a file that a training left half-written is no reason to stop
    if held and run_dvc("checkout", "--force", *held):
        raise UserError("`dvc checkout` failed: see above")
    absent = sum(not Path(name).exists() for name in lacking)
    rest = [f"left as they are: {', '.join(other)}"] if other else []
    rest += [f"{absent} outputs are not here"] if absent else []
    return (
        f", but DVC's cache lacks some ({'; '.join(rest)}): `dvc repro` makes them" if rest else ""
    )


if __name__ == "__main__":
    cli.run(main, __doc__)
