"""What `comp verify` looks at: every file, every table, what was found, and whether train and test differ."""
