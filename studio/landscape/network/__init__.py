"""A network as a function of its weights: the loss over fixed samples, and faster forms of the forward pass."""
