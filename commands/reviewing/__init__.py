"""The library of `commands.review` and `commands.gate`: revisions, noise, the spread over seeds,
checks and pages."""
