"""Stage train: train one model, reload it from disk, and predict the validation and test sets with
it.

Reads ``data/prepared/`` and ``data/weights/NAME/``; writes into ``models/NAME/``:

    model.keras      the network with its normalisation, for pixels 0..255, without optimizer
    predictions.npz  validation, test: class probabilities by that file, float32 (images, classes);
                     for a network with auxiliary heads also validation_auxiliary1 and so on, and
                     uncalibrated_validation and so on if train.calibration changed them
    history.csv      loss, accuracy and the last step's learning rate per epoch, and
                     mean_squared_error if the loss takes one-hot labels; rewritten every epoch
    training.json    what the model is, and what is needed to use it: class names, image shape,
                     preprocess; seed, recipe (effective_recipe: with all of Keras's defaults),
                     layers, epochs done, the epoch whose weights were kept; size and digest of
                     model.keras
    features/        a pre-trained network's features of the images before fine-tuning, recomputed
                     only if they would change; not tracked by DVC
    run.json         seconds, versions, hardware, revision: not tracked by DVC, read by no stage
    tensorboard/     logs for TensorBoard, if `tensorboard` in params.yaml is true; not tracked by
                     DVC

If it is interrupted in any way and started again, it resumes after the last complete epoch
(``checkpoint.npz``) and ends with the same bits as an uninterrupted training. If only
``train.epochs`` was raised, it continues from the end of the shorter training
(``finished-checkpoint.npz``, not tracked by DVC). Takes 8 s on top of the training itself, mostly
to import TensorFlow.
"""

from pathlib import Path

from stages import params
from stages.runtime import cli, edited, guard, inputs
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training.experiment import Experiment, find_pretrained
from stages.training.run import keep_last_state, run


def main(model: str) -> None:
    options = params.load()
    architecture = params.choose(model, options.architectures, "architectures")
    inputs.check_prepared(options)
    inputs.check_weights(model, architecture)
    folder = Path("models") / model
    with guard.exclusive(folder / "train.lock", f"the training of {model}"):
        backend.start(options.train.threads, options.train.instruction_set)
        weights = inputs.WEIGHTS / model
        pretrained = architecture.pretrained and find_pretrained(weights)
        experiment = Experiment(
            model, options.seed, architecture, options.augment, options.train, pretrained
        )
        logs = folder / "tensorboard" if options.tensorboard else None
        record = run(experiment, Prepared(), folder, folder / "checkpoint.npz", logs)
        edited.refuse_edited()
        files.write_json(folder / "run.json", record)
        keep_last_state(folder / "checkpoint.npz")


if __name__ == "__main__":
    cli.run(main, __doc__, model="the model's key in `architectures`")
