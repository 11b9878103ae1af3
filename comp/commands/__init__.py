"""One file a command; each reads like a recipe, and none imports another."""
