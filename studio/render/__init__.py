"""A frame becomes pixels: the stage, baked light, shaders, grading, text and AOVs."""
