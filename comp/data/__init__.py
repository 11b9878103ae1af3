"""Images, masks and tables of the user: found, paired, read, split, cached, augmented."""
