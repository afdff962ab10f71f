"""Hessian-vector products written out operation by operation (Pearlmutter 1994).

`engine` runs a network's `program` on a `tape`; `operation` is the interface of the operations, which `program` lists.
"""
