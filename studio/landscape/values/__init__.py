"""Loss values on a plane: the evaluator, its methods, and the preview."""
