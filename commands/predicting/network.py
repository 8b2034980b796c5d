"""Load a trained model to predict with: an exported one in ONNX Runtime, which starts in a fraction
of a second; any other in Keras, which takes a few seconds."""

from commands.predicting.trained import Trained, advise
from stages.conversion import checking, running
from stages.conversion.checking import Predict
from stages.runtime.errors import UserError
from stages.runtime.processor import count_cores
from stages.training import backend


def start(trained: Trained, threads: int | None = None) -> Predict:
    """The model's predict function: images uint8 (images, height, width, channels) → probabilities
    float (images, classes). `threads`: of ONNX Runtime; None: one per core. Raises `UserError` if
    the file cannot be loaded, or its shapes are not those in training.json."""
    exported = trained.file.suffix == ".onnx"
    if not exported:
        train = trained.training.train
        backend.start(train.threads, train.instruction_set)  # as in training
    try:
        loaded = load_onnx(trained, threads or count_cores()) if exported else load_keras(trained)
    except UserError as error:
        raise UserError(f"{error}: {advise(trained.folder)}") from None
    predict, shape, classes = loaded
    expected, names = trained.training.shape, trained.training.class_names
    if shape != expected or classes != len(names):
        raise UserError(
            f"{trained.file} takes images of the shape {shape} and has {classes} classes, but "
            f"training.json says {expected} and {len(names)}: {advise(trained.folder)}"
        )
    return predict


def load_onnx(trained: Trained, threads: int) -> tuple[Predict, tuple, int]:
    """The predict function, the shape of an image, and the number of classes."""
    session = running.open_session(trained.file, threads)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    signature = [(value.name, value.type, len(value.shape)) for value in (*inputs, *outputs)]
    if signature != [("image", "tensor(uint8)", 4), ("probability", "tensor(float)", 2)]:
        raise UserError(f"{trained.file} was not written by the stage export")
    return running.make_predict(session), tuple(inputs[0].shape[1:]), outputs[0].shape[1]


def load_keras(trained: Trained) -> tuple[Predict, tuple, int]:
    """As `load_onnx`, for a Keras file."""
    network = checking.load_to_predict(trained.file)

    def predict(images):
        return network.predict(images, verbose=0)

    return predict, tuple(network.input_shape[1:]), network.output_shape[-1]
