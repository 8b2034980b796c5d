"""The run record: what cannot be reproduced, kept apart from the results, which contain no time,
host or version."""

import os
import platform
import sys
from datetime import UTC, datetime
from typing import Any

import keras

from stages.runtime import git, processor
from stages.training import devices


def describe_run(fit_seconds: float, seconds: float, epochs: int) -> dict[str, Any]:
    """When, where and with which versions this process trained, and how long it took: `fit_seconds`
    for all epochs, including those before interruptions; `seconds` for everything."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {
            "fit": round(fit_seconds, 2),
            "an_epoch": round(fit_seconds / epochs, 2),
            "all": round(seconds, 2),
        },
        "revision": read_revision(),
        "versions": {
            "python": platform.python_version(),
            "keras": keras.version(),
            **{name: sys.modules[name].__version__ for name in (keras.config.backend(), "numpy")},
        },
        "hardware": {
            "platform": platform.platform(),
            "processor": processor.read_name(),
            "cores": os.cpu_count(),
            **devices.describe_platform(),
        },
    }


def read_revision() -> str | None:
    """The commit of the working tree, with the suffix ``-dirty`` if files differ; None outside a
    git repository."""
    return git.ask("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
