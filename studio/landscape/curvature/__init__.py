"""Second derivatives of the loss: Hessian-vector products, extreme eigenvalues, spectra, the plane's own Hessian.

`hvp` chooses an engine of products (`engine` is the interface); `extremes` and `spectrum` need products alone, by
Lanczos runs (`lanczos`).
"""
