"""A list of jobs, the slots they run in, and the executors that bring the two together."""
