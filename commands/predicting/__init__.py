"""What predict is made of: the folder of a trained model, and the images to classify."""
