"""Studies: when an idea pays. A preset names what is trained; trials, measures and a record follow from it."""
