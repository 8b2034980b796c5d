"""What the commands share that judge a change: `commands.review`, `commands.gate` and
`commands.seed_spread`."""
