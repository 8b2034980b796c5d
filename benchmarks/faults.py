#!/usr/bin/env python3
"""Faults other than kills, one by one: the message of `dvc repro`, and whether the next one ends
with the bits of an undisturbed run.

usage: python benchmarks/faults.py [FAULT ...]      (Linux, as root: it mounts a small file system
and makes a control group)

Each fault hits a copy of the tests' small project, with the real stages and DVC.
Writes benchmarks/results/faults.json and faults.md: for each fault the exit status, the message,
whether a traceback was shown, and how the next `dvc repro`, with the cause removed, ended. Takes
about 10 minutes on two cores. kills.py does kills.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import RESULTS, described, in_words, write
from memory import Group
from support.kills import differing, start, state, writing
from support.project import Project, copy, small_project


def repro(project: Project, *targets: str, prepare=None, **environment: str) -> tuple[int, str]:
    """Exit status and output of `dvc repro`; `prepare` is called in the new process."""
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environment() | environment,
        text=True,
        preexec_fn=prepare,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout


class Fault:
    """One fault on a project in `folder`."""

    fresh = True  # whether the project has not run yet

    def __init__(self, folder: Path):
        self.folder = folder

    def place(self, source: Project) -> Project:
        """Copy the project to where the fault is."""
        return copy(source, self.folder)

    def hit(self, project: Project) -> tuple[int, str]:
        """Run `dvc repro` into the fault; returns exit status and output."""
        return repro(project)

    def mend(self, project: Project) -> None:
        """Remove the cause."""

    def end(self) -> None:
        """Clean up."""


class DiskFull(Fault):
    """The project lies on a file system with `room` bytes left."""

    room = 0

    def place(self, source: Project) -> Project:
        used = sum(path.lstat().st_size // 4096 * 4096 + 4096 for path in source.folder.rglob("*"))
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={used + self.room}", "tmpfs", str(self.folder)],
            check=True,
        )
        return copy(source, self.folder)

    def mend(self, project: Project) -> None:
        subprocess.run(["mount", "-o", "remount,size=500m", str(self.folder)], check=True)

    def end(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def disk_full(room: int) -> type[DiskFull]:
    return type("DiskFull", (DiskFull,), {"room": room, "__doc__": DiskFull.__doc__})


class ReadOnlyFolder(Fault):
    """No file can be made in models/ (as for a user without rights; root needs chattr for that)."""

    def hit(self, project: Project) -> tuple[int, str]:
        project.path("models").mkdir(exist_ok=True)
        subprocess.run(["chattr", "+i", project.path("models")], check=True)
        return repro(project)

    def mend(self, project: Project) -> None:
        subprocess.run(["chattr", "-i", project.path("models")], check=True)


class LittleAddressSpace(Fault):
    """Each process may have 3 GiB of addresses."""

    def hit(self, project: Project) -> tuple[int, str]:
        return repro(
            project, prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30,) * 2)
        )


class LittleMemory(Fault):
    """The kernel ends what needs more than 300 MiB."""

    def hit(self, project: Project) -> tuple[int, str]:
        group = Group(300 * 2**20)
        try:
            return repro(project, prepare=group.join)
        finally:
            group.remove()


class CorruptCache(Fault):
    """A bit of each array in DVC's cache is another, and the outputs are gone. DVC trusts files
    that are not writable and restores them without a word; those that are writable it checks,
    removes and makes anew."""

    fresh = False

    def hit(self, project: Project) -> tuple[int, str]:
        for path in project.path(".dvc/cache/files").rglob("*"):
            if path.is_file() and path.stat().st_size > 10_000:
                path.chmod(0o644)
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 1
                path.write_bytes(content)
                path.chmod(0o444)
        shutil.rmtree(project.path("data/prepared"))
        return repro(project)

    def mend(self, project: Project) -> None:
        subprocess.run(["chmod", "-R", "u+w", project.path(".dvc/cache/files")], check=True)
        shutil.rmtree(project.path("data/prepared"))


class DeletedOutput(Fault):
    """Outputs were deleted."""

    fresh = False

    def hit(self, project: Project) -> tuple[int, str]:
        shutil.rmtree(project.path("data/prepared"))
        project.path("models/mnist-dense/model.keras").unlink()
        project.path("reports/metrics.json").unlink()
        return repro(project)


class TwoAtOnce(Fault):
    """A second `dvc repro` while the first one runs; what the second one says."""

    def hit(self, project: Project) -> tuple[int, str]:
        self.first = project.start(sys.executable, "-m", "dvc", "repro")
        while not writing(project) and self.first.poll() is None:
            time.sleep(0.01)
        return repro(project)

    def mend(self, project: Project) -> None:
        self.first.communicate()


class NotANumber(Fault):
    """The loss becomes NaN, by a learning rate far too great."""

    def hit(self, project: Project) -> tuple[int, str]:
        project.edit_params(lambda params: params["train"].update(learning_rate=1e30))
        return repro(project)

    def mend(self, project: Project) -> None:
        project.edit_params(lambda params: params["train"].update(learning_rate=None))


class TerminalClosed(Fault):
    """SIGHUP to all processes of the terminal, during a training."""

    def hit(self, project: Project) -> tuple[int, str]:
        dvc = start(project)
        while not project.path("models/mnist-dense/checkpoint.npz").exists() and dvc.poll() is None:
            time.sleep(0.01)
        os.killpg(dvc.pid, signal.SIGHUP)
        return dvc.wait(), project.path(".git/log").read_text()


class LocaleC(Fault):
    """Locale C, without Python's UTF-8 mode."""

    def hit(self, project: Project) -> tuple[int, str]:
        return repro(project, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")


class OddPath(Fault):
    """The project lies in a folder with spaces and letters outside ASCII."""

    def place(self, source: Project) -> Project:
        folder = self.folder / "mis imágenes – 图"
        folder.mkdir()
        return copy(source, folder)


FAULTS = {
    "disk full, 1 MB left": disk_full(1_000_000),
    "disk full, 2 MB left": disk_full(2_000_000),
    "disk full, 4 MB left": disk_full(4_000_000),
    "folder without the right to write": ReadOnlyFolder,
    "3 GiB of addresses": LittleAddressSpace,
    "300 MiB of memory": LittleMemory,
    "cache corrupted": CorruptCache,
    "outputs deleted": DeletedOutput,
    "two dvc repro at once": TwoAtOnce,
    "NaN loss": NotANumber,
    "terminal closed": TerminalClosed,
    "locale C": LocaleC,
    "spaces and non-ASCII in the path": OddPath,
}


def message(output: str) -> str:
    """The lines with the error, or the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if line.lower().startswith(("error", "what to do"))]
    return " / ".join(wrong[:3] or lines[-1:])[:400]


def table(content: dict) -> str:
    lines = [
        f"{in_words(content['machine'])}.",
        "",
        "| fault | exit status | message | next `dvc repro` |",
        "|---|--:|---|---|",
    ]
    for name, fault in content["faults"].items():
        ended = (
            "equal bits"
            if fault["equal_bits"]
            else f"status {fault['status_of_the_next']}: {fault['message_of_the_next']}"
        )
        shown = fault["message"].replace("|", "\\|") if fault["status"] else "none needed"
        lines.append(f"| {name} | {fault['status']} | {shown} | {ended} |")
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    results = RESULTS / "faults.json"
    content = json.loads(results.read_text()) if results.exists() else {"faults": {}}
    content["machine"] = described("dvc", "keras", "tensorflow")
    with tempfile.TemporaryDirectory() as temporary:
        fresh = small_project(Path(temporary) / "fresh/project")
        finished = copy(fresh, Path(temporary) / "finished")
        finished.dvc("repro")
        expected = state(finished)
        for name in names or FAULTS:
            folder = Path(temporary) / "fault"
            folder.mkdir()
            fault = FAULTS[name](folder)
            try:
                project = fault.place(fresh if fault.fresh else finished)
                status, output = fault.hit(project)
                fault.mend(project)
                after, second = repro(project)
                found = state(project)
            finally:
                fault.end()
            equal = after == 0 and found == expected
            content["faults"][name] = {
                "what": " ".join(type(fault).__doc__.split()),
                "status": status,
                "message": message(output).replace(str(folder), "…"),
                "traceback": "Traceback" in output,
                "status_of_the_next": after,
                "equal_bits": equal,
                "differing": [] if equal else differing(found, expected),
                "message_of_the_next": "" if equal else message(second).replace(str(folder), "…"),
            }
            shutil.rmtree(folder)
            write("faults", content, table(content))


if __name__ == "__main__":
    main(sys.argv[1:])
