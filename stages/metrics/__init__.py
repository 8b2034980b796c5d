"""Measures of a model's predictions."""
