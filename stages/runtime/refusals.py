"""What the system refuses a program, such as memory or room on a disk, in words."""

import errno
import os
import re
import resource
import shutil
import sqlite3

from stages.runtime.text import first_line

FULL = 1_000_000  # bytes: a disk with less space left counts as full
LESS_MEMORY = "end other programs, or make images, batches or the network smaller"
MORE_ADDRESSES = "raise this user's limit on address space (`ulimit -v unlimited`)"
MORE_SPACE = (
    "free some space, for instance by `dvc gc --all-commits --all-experiments`, and start again "
    "(`dvc gc --workspace` frees more, but deletes the models of other commits and experiments)"
)
REMEDIES = {
    errno.ENOSPC: MORE_SPACE,
    errno.EDQUOT: MORE_SPACE,
    errno.EACCES: "give this user the right to it (chmod, chown), and start again",
    errno.EPERM: "give this user the right to it (chmod, chown), and start again",
    errno.EROFS: "mount it for writing, or work in a copy of the project elsewhere",
    errno.ENOMEM: LESS_MEMORY,
    errno.EIO: "the disk may be failing: copy the project to another one",
    errno.EFBIG: "raise this user's limit on the size of files (ulimit -f), or use another disk",
    errno.ENAMETOOLONG: "give a shorter name, or move the project to a shorter path",
}
# folders that the pipeline writes
MADE = ("data", "models", "reports", "exports", "replications")


def explain(error: Exception) -> str | None:
    """What the system refused, and what to do; None for an error with another cause."""
    match error:
        case OSError():
            return explain_os_error(error)
        case sqlite3.OperationalError() if "full" in str(error):  # of DVC's databases
            return explain_os_error(OSError(errno.ENOSPC, str(error), "DVC's cache or database"))
        case ImportError() if "failed to map segment" in str(error):  # of a library: glibc's dlopen
            return f"not enough address space: {error}.\n       What to do: {MORE_ADDRESSES}"
        case MemoryError():
            reason = str(error) or "all of it is used"
        case _ if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's, of any device
            tensor = re.search(r"tensor with shape\[[\d,]*\] and type \w+", str(error))
            reason = f"for a {tensor[0]}" if tensor else first_line(error)
        case _:
            return None
    return f"not enough memory: {reason}.\n       What to do: {LESS_MEMORY}"


def explain_os_error(error: OSError) -> str | None:
    """As `explain`, for errors of the operating system."""
    number = error.errno
    if number is None:  # NumPy says only that fewer bytes were written than requested
        if shutil.disk_usage(".").free < FULL:
            number = errno.ENOSPC
        elif resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
            number = errno.EFBIG
    if number == errno.ENOENT and str(error.filename).split(os.sep)[0] in MADE:
        return (
            f"{error.filename} is missing: the pipeline makes it. Run `dvc repro`, or `dvc pull` "
            "to get it from a remote"
        )
    if number == errno.ENOENT and "temporary directory" in str(error):  # of tempfile
        return (
            "no folder for temporary files can be written to.\n       What to do: free some space, "
            "or set TMPDIR to a folder on a disk with room"
        )
    if number not in REMEDIES:
        return None
    where = error.filename or f"writing in {os.getcwd()}"
    return (
        f"{where}: {os.strerror(number).lower()}.\n       What to do: {REMEDIES[number]}. "
        "No half-written file was left behind"
    )
