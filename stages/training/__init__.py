"""What the stage train is made of: batches, the recipe's Keras objects, the checkpoint, and how a
model is saved."""
