"""What all programs of the project share: arguments, user errors, locks, and the termination of
orphans."""
