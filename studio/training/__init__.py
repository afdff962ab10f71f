"""What a run is: models, data, recipes, and the recorder that trains and keeps checkpoints."""
