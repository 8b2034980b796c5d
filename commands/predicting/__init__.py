"""The library of `commands.predict` and `commands.serve`: the folder of a trained model, and the
images to classify."""
