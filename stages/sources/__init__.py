"""Where data sets come from: a module for each kind of source, and `raw`, the one layout that all
are brought into."""
