"""Folds as data: schemes, groups, held-out lists, the table that is written and checked, its balance."""
