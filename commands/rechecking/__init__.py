"""The library of `commands.recheck`: the trainings that differ only in code, the short experiment
that both codes run, and the comparison of the results."""
