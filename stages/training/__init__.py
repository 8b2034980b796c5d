"""The parts of the stage train: the recipe's Keras objects, batches, fitting, checkpoints, and
saving a model."""
