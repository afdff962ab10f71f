"""Training runs: models, data, recipes, and the recorder that trains and saves checkpoints."""
