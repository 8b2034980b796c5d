"""The library of `commands.recheck`: which trainings differ in code alone, the short experiment
that both codes run, and the comparison of what they compute."""
