"""What the commands share that judge a change: `stages.review`, `stages.gate` and `stages.seed_spread`."""
