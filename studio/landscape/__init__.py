"""What the landscape is: a network's loss and curvature on a plane in weight space, measured point by point."""
