"""How a Frame becomes pixels: the stage, the baked light, the shading, the grade and the type."""
