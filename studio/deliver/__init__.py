"""What is handed over: movies, image sequences and stills, written whole or not at all."""
