"""Several processes that train one model together, as `torchrun` starts them; mostly just one."""

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Team:
    """The processes that train one model together, as `torchrun` starts them; mostly just one."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> "Team":
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @staticmethod
    @contextlib.contextmanager
    def joined(device: torch.device) -> Generator["Team"]:
        """Join the others, if `torchrun` started any, and part from them at the end."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            yield Team()
            return
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield Team.of_this_process()
        finally:
            dist.destroy_process_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with its gradients averaged over the team."""
        if self.size == 1:
            return model
        device = next(model.parameters()).device
        return DistributedDataParallel(model, [device] if device.type == "cuda" else None)

    def exchange(self, network: nn.Module, *, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Average the gradients only when the last piece of a batch is in."""
        if isinstance(network, DistributedDataParallel) and not now:
            return network.no_sync()
        return contextlib.nullcontext()

    def agree(self, loss: Tensor, seconds: float, stop: bool) -> tuple[float, float, bool]:
        """The mean loss, the first process's time, and whether anyone wants to stop."""
        if self.size == 1:
            return loss.item(), seconds, stop
        mine = [loss.item() / self.size, seconds if self.rank == 0 else 0.0, float(stop)]
        said = torch.tensor(mine, dtype=torch.float64, device=loss.device)
        dist.all_reduce(said)
        return said[0].item(), said[1].item(), said[2].item() > 0


def own_device(device: torch.device) -> torch.device:
    """Under torchrun every process takes its own GPU."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device
