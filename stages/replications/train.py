"""Stage train of the replications: one experiment, once with each of its seeds.

Reads ``replications/data/VARIANT/prepared/``; writes into ``replications/trained/NAME/`` a folder
per seed, ``seed-1`` and so on, with predictions.npz, history.csv and training.json as the root's
stage train writes them; model.keras, and the optimizer's state in optimizer.npz, only if
`keep_model` is true: all models together would take gigabytes. The run record is
``replications/runs/NAME.json``. Checkpoints are outside both, in ``replications/checkpoints/``,
since DVC deletes a stage's outputs before it starts. They are kept until all seeds are done, so
that a run stopped in its third seed does not train the first two again.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages import params
from stages.replications import options
from stages.runtime import cli, edited, guard
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend, code
from stages.training.experiment import Experiment, find_pretrained
from stages.training.run import train_and_predict


@dataclass(frozen=True)
class Replication(Experiment):
    """An experiment, with options that only some of the documents need."""

    code: str = ""  # digest of what the replications add to the root's training code
    start: str | None = None  # digest of the model that training continues from
    evaluate_in_training_mode: bool = False  # whether dropout stays on when images are predicted


def run(
    experiment: Replication,
    prepared: Prepared,
    folder: Path,
    checkpoint: Path,
    start: Path | None,
    keep_model: bool,
) -> dict[str, Any]:
    """As the root's `run`, but continues from model.keras and optimizer.npz in the folder `start`.
    With `keep_model`, `folder` keeps these two files too. The checkpoint stays. Returns the run
    record."""
    from stages.replications import optimizer_state, training_mode
    from stages.training import recipe
    from stages.training.network import build_network

    network = build_network(experiment, prepared)
    if start:
        network.saved.load_weights(start / "model.keras")
        recipe.build_variables(network.optimizer, network.model.trainable_variables)
        optimizer_state.load(network.optimizer, start / "optimizer.npz")
    wrap = training_mode.keep_in_training_mode if experiment.evaluate_in_training_mode else None
    if wrap:
        network = replace(network, fitted=wrap(network.model))
    record = train_and_predict(experiment, network, prepared, folder, checkpoint, wrap=wrap)
    if keep_model:
        optimizer_state.save(network.optimizer, folder / "optimizer.npz")
    else:
        files.remove(folder / "model.keras")
    return record


def main(experiment: str) -> None:
    root, replications = options.load()
    entry = params.choose(experiment, replications.experiments, "experiments", options.FILE)
    common = replications.common
    recipe = options.complete_train(common, entry)
    prepared = options.open_prepared(entry)
    target, records = options.TRAINED / experiment, {}
    checkpoints = options.FOLDER / "checkpoints" / experiment
    architecture, continued = root.architectures[entry.architecture], options.find_start(entry)
    pretrained = architecture.pretrained and find_pretrained(Path(entry.starts_from))
    with guard.exclusive(checkpoints / "train.lock", f"the training of {experiment}"):
        backend.start(recipe.threads, recipe.instruction_set)
        own_code = code.fingerprint_replications()["replications"]
        for seed in entry.seeds:
            name = f"seed-{seed}"
            start = options.TRAINED / continued / name if continued else None
            one = Replication(
                name=experiment,
                seed=seed,
                architecture=architecture,
                augment=options.complete_augment(common, entry),
                train=recipe,
                pretrained=pretrained,
                code=own_code,
                start=start and files.sha256(start / "model.keras"),
                evaluate_in_training_mode=entry.evaluate_in_training_mode,
            )
            records[name] = run(
                one,
                prepared,
                target / name,
                checkpoints / f"{name}.npz",
                start,
                entry.keep_model,
            )
        edited.refuse_edited()
        files.write_json(options.FOLDER / "runs" / f"{experiment}.json", records)
        for file in checkpoints.glob("*.npz"):
            files.remove(file)


if __name__ == "__main__":
    cli.run(main, __doc__, experiment="the experiment's key in `experiments`")
