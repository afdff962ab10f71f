"""A network's loss and curvature on planes in weight space, measured point by point.

    f(alpha, beta) = L(theta + alpha delta + beta eta)

Records say what is measured (`sweeps`, `directions`, `loss`, `convexity`, `detail`); a new kind is a class in the
record's file. `slices` resolves them, `tasks` measures: loss values by `values`, eigenvalues by `curvature`, both on
the loss as a function of weights in `network`.
"""
