"""What a run gives the workers of a Dask cluster: clones of the working tree, with a configuration
of DVC and the environment of their stages; and what a stage needs of a worker."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from configobj import ConfigObj
from distributed import Client

from commands.parallel import worker
from commands.pipeline import repository, snapshot
from stages.params.schema import Parallel

# variables that may change results; Dask sets some of them in its workers, PYTHONHASHSEED even in
# this process
BITS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "KERAS_BACKEND", "PYTHONHASHSEED",
)  # fmt: skip


def find_needs(options: Parallel, address: str) -> dict[str, float]:
    """The resources that an instance takes: its own entry, else that of its stage, else none."""
    wanted = options.resources.get(address) or options.resources.get(address.split("@")[0])
    return (
        {name: amount for name, amount in wanted.model_dump().items() if amount} if wanted else {}
    )


def remember_environment() -> dict[str, str | None]:
    """The variables that may change results; None for one that is not set. To be called before Dask
    changes them."""
    return {variable: os.environ.get(variable) for variable in BITS}


@contextlib.contextmanager
def provide_clones(
    client: Client,
    name: str,
    content: str,
    remote: bool,
    environment: dict[str, str | None],
    handle_message: Callable[[tuple[float, dict]], None],
) -> Iterator[None]:
    """Give each worker of the cluster clones with the tree `content`, for the run `name`. They
    share the working tree's cache unless they use its `remote`. `handle_message` gets their
    events."""
    head, commit = snapshot.commit(content)
    cache = Path(repository.find_cache())
    mark = None if remote else cache / name
    plugin = worker.Clones(
        name=name,
        bundle=snapshot.make_bundle(commit),
        head=head,
        snapshot=commit,
        config=format_config(None if remote else cache),
        mark=mark and str(mark),
        environment=environment,
    )
    try:
        if mark:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        client.subscribe_topic(name, handle_message)
        client.register_plugin(plugin, name=name)
        try:
            yield
        finally:  # the cluster may outlive this run
            # errors from workers that have left: Ctrl-C also reaches those on this machine
            with contextlib.suppress(Exception):
                client.unregister_worker_plugin(name)
    finally:
        if mark:
            mark.unlink(missing_ok=True)


def format_config(cache: Path | None) -> str:
    """DVC's local configuration of a clone, with the `cache` of the working tree, or its own."""
    # the library with which DVC reads it: it quotes special characters such as #
    config = ConfigObj(interpolation=False)
    config["core"] = {"site_cache_dir": ".dvc/tmp/site"}
    if cache:
        config["cache"] = {"dir": str(cache), "type": "reflink,hardlink,copy"}
    return "\n".join([*config.write(), ""])
