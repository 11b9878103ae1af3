"""One fold of one model: from caches and a config to weights, probabilities and `result.json`."""
