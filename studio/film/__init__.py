"""What a film is: eases, cameras, shots and looks, and the pure function from a frame number to a Frame."""
