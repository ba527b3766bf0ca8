"""Losses."""

from fastmlp.criterion.bce import BCELoss
from fastmlp.criterion.bce_with_logits import BCEWithLogitsLoss
from fastmlp.criterion.criterion import Criterion, ElementwiseLoss
from fastmlp.criterion.cross_entropy import CrossEntropyLoss
from fastmlp.criterion.gaussian_nll import GaussianNLLLoss
from fastmlp.criterion.hinge import HingeLoss
from fastmlp.criterion.hinge_embedding import HingeEmbeddingLoss
from fastmlp.criterion.huber import HuberLoss
from fastmlp.criterion.kl_div import KLDivLoss
from fastmlp.criterion.l1 import L1Loss
from fastmlp.criterion.mse import MSELoss
from fastmlp.criterion.multi_margin import MultiMarginLoss
from fastmlp.criterion.nll import NLLLoss
from fastmlp.criterion.poisson_nll import PoissonNLLLoss
from fastmlp.criterion.quantile import QuantileLoss
from fastmlp.criterion.smooth_l1 import SmoothL1Loss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "Criterion",
    "CrossEntropyLoss",
    "ElementwiseLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "SmoothL1Loss",
]
