"""Loss values on a plane: `evaluator` measures rows of points by one of the `methods`, `preview` interpolates."""
