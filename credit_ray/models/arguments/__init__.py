"""Arguments of the networks, free of torch, so that a config can be checked without it: one module per family.

Single values are checked when they are given (`ValueError`, which the config's loader turns into a message with file and
line); what depends on the data, by `check`.
"""

from credit_ray.models.arguments.afno import AFNOArguments
from credit_ray.models.arguments.baselines import ClimatologyArguments, PersistenceArguments
from credit_ray.models.arguments.fuxi import FuXiArguments
from credit_ray.models.arguments.graphcast import GraphCastArguments
from credit_ray.models.arguments.linear import LinearArguments
from credit_ray.models.arguments.samudra import SamudraArguments
from credit_ray.models.arguments.sfno import SFNOArguments
from credit_ray.models.arguments.shape import NetworkShape
from credit_ray.models.arguments.swin import SwinArguments
from credit_ray.models.arguments.unet import UNetArguments
from credit_ray.models.arguments.wxformer import WXFormerArguments

__all__ = [
    "AFNOArguments",
    "ClimatologyArguments",
    "FuXiArguments",
    "GraphCastArguments",
    "LinearArguments",
    "NetworkShape",
    "PersistenceArguments",
    "SFNOArguments",
    "SamudraArguments",
    "SwinArguments",
    "UNetArguments",
    "WXFormerArguments",
]
