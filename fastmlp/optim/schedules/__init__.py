"""Learning-rate schedules."""

from fastmlp.optim.schedules.constant_lr import ConstantLR
from fastmlp.optim.schedules.cosine_annealing_lr import CosineAnnealingLR
from fastmlp.optim.schedules.cosine_annealing_warm_restarts import CosineAnnealingWarmRestarts
from fastmlp.optim.schedules.cyclic_lr import CyclicLR
from fastmlp.optim.schedules.exponential_lr import ExponentialLR
from fastmlp.optim.schedules.lambda_lr import LambdaLR
from fastmlp.optim.schedules.linear_lr import LinearLR
from fastmlp.optim.schedules.multi_step_lr import MultiStepLR
from fastmlp.optim.schedules.multiplicative_lr import MultiplicativeLR
from fastmlp.optim.schedules.one_cycle_lr import OneCycleLR
from fastmlp.optim.schedules.polynomial_lr import PolynomialLR
from fastmlp.optim.schedules.reduce_lr_on_plateau import ReduceLROnPlateau
from fastmlp.optim.schedules.schedule import LRScheduler
from fastmlp.optim.schedules.sequential_lr import SequentialLR
from fastmlp.optim.schedules.step_lr import StepLR

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
