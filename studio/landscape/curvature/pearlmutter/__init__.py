"""Hessian-vector products written out operation by operation (Pearlmutter 1994)."""
