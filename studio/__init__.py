"""Films and stills of neural-network loss landscapes."""
