"""A trained model in other forms: in float32, as ONNX; and the check that they predict alike."""
