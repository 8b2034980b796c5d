"""A trained model in other forms: in float32, as ONNX, in 8-bit integers; the check that they
predict alike; and what runs them."""
