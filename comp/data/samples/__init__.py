"""What a model is trained on: crops, augmentation, sampling, pseudo-labels; drawn from the seed, never from state."""
