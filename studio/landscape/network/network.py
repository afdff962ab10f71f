"""A module whose trainable tensors are views of one flat vector, so that setting its weights is one operation.

set_weights_along: flat <- base + step direction
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from studio.landscape.network.modes import mutable_buffers, set_mode
from studio.landscape.network.random_numbers import reseed


class Network:
    """A private module in one mode ("eval", "train" or "recalibrated"), at the weights last set.

    Every pass draws the same random numbers and leaves the module's buffers as they were. forward: computes what the
    module does, from the same tensors; the module itself if None.
    """

    batch_slots = 1
    """Points that pass side by side, as in `CompiledForward`."""

    def __init__(self, module: nn.Module, device: str, mode: str, forward: Callable[[Tensor], Tensor] | None = None):
        self.module, self._forward = module, module if forward is None else forward
        self._device_kind, self._is_recalibrated = torch.device(device).type, mode == "recalibrated"
        self._calibration = set_mode(module, mode)
        self.parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._flat = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        for name, view in self.split(self._flat).items():
            self.parameters[name].data = view
        self._buffers = mutable_buffers(module)

    @property
    def size(self) -> int:
        """P, the number of trainable weights."""
        return self._flat.numel()

    def flat(self, named: Mapping[str, Tensor]) -> Tensor:
        """The trainable tensors [..., *shape] of `named` as vectors [..., P], on the network's device, in its type."""
        parts = [
            named[name].flatten(named[name].dim() - p.dim()) if p.dim() else named[name].unsqueeze(-1)
            for name, p in self.parameters.items()
        ]
        return torch.cat(parts, -1).to(self._flat)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Vectors [..., P] as views [..., *shape] by name."""
        parts = torch.split(flat, [p.numel() for p in self.parameters.values()], dim=-1)
        return {
            name: part.view((*part.shape[:-1], *p.shape))
            for part, (name, p) in zip(parts, self.parameters.items(), strict=True)
        }

    def set_weights(self, weights: Tensor, slot: int = 0) -> None:
        """Sets the module's weights [P]; its only slot is 0."""
        self._flat.copy_(weights)

    def set_weights_along(self, base: Tensor, direction: Tensor, step: float, slot: int = 0) -> None:
        """Sets the weights to base + step direction."""
        torch.add(base, direction, alpha=step, out=self._flat)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs [N, ...] at the weights last set."""
        reseed(self._device_kind)
        outputs = self._forward(x)
        for module, name, tensor, value in self._buffers.values():
            module._buffers[name] = tensor.copy_(value)
        return outputs

    def functional_call(self, named: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Outputs [N, ...] with the tensors `named`, differentiable in them; the module's own stay as they are."""
        reseed(self._device_kind)
        buffers = {name: value.clone() for name, (*_, value) in self._buffers.items()}
        outputs: Tensor = functional_call(self.module, {**buffers, **named}, (x,))
        return outputs

    def calibrate(self, forward: Callable[[], object]) -> None:
        """In recalibrated mode, takes new batch statistics from `forward`, which runs the network in train mode."""
        if not self._is_recalibrated:
            return
        self._calibration.clear()
        self.module.train()
        try:
            forward()
        finally:
            self.module.eval()
