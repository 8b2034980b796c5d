"""What `commands.review` and `commands.gate` judge a change by: revisions, noise, and whether
dvc.lock is up to date, which other commands ask too."""
