"""A network as a function of its weights: `weight_loss`, its loss over fixed samples; and faster forward passes.

Faster by folded batch norms (`folding`), kernels for small pictures (`compiled_forward`, `kernels`), and many points in
one batch (`batched`).
"""
