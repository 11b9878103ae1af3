"""Tuning: a search space, a study in a database that several processes share, and what it says in the end."""
