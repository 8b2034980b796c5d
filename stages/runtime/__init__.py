"""What all programs of the project share: arguments, errors and text for people, progress, git,
locks and the termination of orphans, and checks that a stage's inputs are the parameters' own."""
