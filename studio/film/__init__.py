"""The film: eases, camera, shots, looks and overlays, and the pure function from a frame number to a Frame."""
