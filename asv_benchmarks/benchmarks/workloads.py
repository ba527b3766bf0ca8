"""What is trained, as names and numbers; the report reads them too, so nothing of fastmlp is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["DISC", "MNIST_512", "PEAK_FLOPS", "WORKLOADS", "Workload"]

#: Flops of one body of peak.FusedMultiplyAdds, on each thread.
PEAK_FLOPS = 4_000_000_000


@dataclass(frozen=True)
class Workload:
    """A network and its batches: plain SGD, float32, batches in order."""

    widths: tuple[int, ...]
    batch: int
    rows: int  # of the data set
    epochs: int  # that make a body of ten milliseconds or so
    activation: str = "ReLU"
    loss: str = "CrossEntropyLoss"

    @property
    def flops(self) -> int:
        """Useful flops of a step: three products for each layer, without the input gradient of the first."""
        sizes = [wide * narrow for wide, narrow in pairwise(self.widths)]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])

    @property
    def steps(self) -> int:
        """Steps of a body."""
        return self.epochs * -(-self.rows // self.batch)


DISC, MNIST_512 = (2, 25, 25, 25, 2), (784, 512, 512, 10)

WORKLOADS = {
    "disc-b100": Workload(DISC, 100, 1000, 50),
    "disc-b10": Workload(DISC, 10, 1000, 25),
    "disc-b1": Workload(DISC, 1, 1000, 5),
    "disc-tanh-b100": Workload(DISC, 100, 1000, 50, "Tanh", "MSELoss"),
    "tabular": Workload((64, 256, 256, 10), 128, 1280, 3),
    "mnist-512": Workload(MNIST_512, 128, 640, 1),
    "mnist-1024": Workload((784, 1024, 1024, 10), 256, 512, 1),
}
