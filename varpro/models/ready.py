"""The registry of ready models of curves, by the name that configs of varpro-fit give them."""

from varpro.models.separable import Model
from varpro.registry import Registry

MODELS: Registry[type[Model]] = Registry(
    "kind", built_in=[f"varpro.models.{name}" for name in ("exponentials", "peaks", "sinusoids", "rational", "powers")]
)
"""Ready models; the keys that a config gives one are the arguments of its class."""
