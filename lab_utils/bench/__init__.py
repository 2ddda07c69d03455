"""The comparison of models: plan, trials, timing, results, verdicts, tables, pictures and the report."""
