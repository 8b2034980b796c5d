"""What `commands.review` and `commands.gate` judge a change by: revisions, noise, and the spread
over seeds."""
