"""Return to the last commit: its parameters, its results, and its data and models.

Works after whatever a run left behind, such as one that was interrupted or killed. What was changed
since the commit, in params.yaml, the lock files, data/sources, reports and replications, is kept:
``git stash pop`` brings it back. Code and documents are left alone. Data and models of the commit
that are not in DVC's cache are left to ``dvc repro``.
"""

import subprocess
import sys

from stages.runtime import cli, experiments, git
from stages.runtime.errors import UserError

WRITTEN = ("params.yaml", "dvc.lock", "data/dvc.lock", "data/sources", "reports", "replications")
WRITTEN_BY_HAND = ("dvc.yaml", "published.yaml", "from-scratch.txt", "README.md")


def main() -> None:
    if experiments.is_dvc_running():
        raise UserError("DVC runs in this folder: wait for it, or end it, and start again")
    if branch := experiments.find_lost_branch():
        if git.ask("merge-base", "--is-ancestor", "HEAD", branch) is None:
            raise UserError(
                f"a `dvc exp run` that was killed left the branch {branch}, and commits since then "
                "are on none:\n       `git switch -c NAME` makes a branch of them. Then start again"
            )
        git.run("switch", branch)
        print(f"on branch {branch} again, which a `dvc exp run` that was killed had left")
    but = [f":(exclude)replications/{name}" for name in WRITTEN_BY_HAND]
    changed = [path for path in WRITTEN if git.run("status", "--porcelain", "--", path, *but)]
    if changed:
        options = ("--include-untracked", "--message", "what `make undo` put aside")
        git.run("stash", "push", *options, "--", *changed, *but)
        print(f"changes put aside, `git stash pop` brings them back: {', '.join(changed)}")
    # --force: a file that a training left half-written is no reason to stop
    checkout = [sys.executable, "-m", "dvc", "checkout", "--force", "--allow-missing"]
    if subprocess.run(checkout).returncode:
        raise UserError("`dvc checkout` failed: see above")
    print("parameters and results are those of the last commit")


if __name__ == "__main__":
    cli.run(main, __doc__)
