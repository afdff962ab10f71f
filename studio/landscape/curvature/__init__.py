"""Second derivatives of the loss: Hessian-vector products, extreme eigenvalues, spectra, the plane's own Hessian."""
