"""How data sets are laid out: what a tree of names says about which image belongs to which mask."""
