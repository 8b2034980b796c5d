"""The library of `commands.replicate`: the rows to run, in order, and the progress of one."""
