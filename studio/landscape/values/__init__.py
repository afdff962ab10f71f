"""Loss values on a plane: the evaluator and its methods, the preview, and their timings."""
