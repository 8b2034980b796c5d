"""Stage train of the replications: one experiment, once with each of its seeds.

Reads ``replications/data/VARIANT/prepared/``; writes into ``replications/models/NAME/`` a folder a
seed, ``seed-1`` and so on, with what the root's stage train writes into its folder, and the run
record ``replications/runs/NAME.json``. Checkpoints lie outside both, in
``replications/checkpoints/``, since DVC deletes a stage's outputs before it starts.
"""

from pathlib import Path

from stages.replications import options
from stages.runtime import cli, guard
from stages.storage import files
from stages.training import backend
from stages.training.run import Experiment, run


def main(experiment: str) -> None:
    root, replications = options.load()
    entry, common = (
        options.chosen(experiment, replications.experiments, "experiments"),
        replications.common,
    )
    recipe = options.train_of(common, entry)
    prepared = options.prepared(entry)
    models, records = options.FOLDER / "models" / experiment, {}
    checkpoints = options.FOLDER / "checkpoints" / experiment
    with guard.exclusive(checkpoints / "train.lock", f"the training of {experiment}"):
        backend.start(recipe.threads)
        for seed in entry.seeds:
            source = Path(entry.starts_from) / f"seed-{seed}"
            one = Experiment(
                name=experiment,
                seed=seed,
                architecture=root.architectures[entry.architecture],
                augment=options.augment_of(common, entry),
                train=recipe,
                starts_from=source if source.is_dir() else None,
                keep_optimizer=entry.keep_optimizer,
                evaluate_in_training_mode=entry.evaluate_in_training_mode,
            )
            records[f"seed-{seed}"] = run(
                one, prepared, models / f"seed-{seed}", checkpoints / f"seed-{seed}.npz"
            )
        files.write_json(options.FOLDER / "runs" / f"{experiment}.json", records)


if __name__ == "__main__":
    cli.run(main, __doc__, experiment="the experiment's key in `experiments`")
