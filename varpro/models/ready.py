"""The registry of ready curve models, by the names that configs of varpro-fit use."""

from varpro.models.separable import Model
from varpro.registry import Registry

MODELS: Registry[type[Model]] = Registry(
    "kind", built_in=[f"varpro.models.{name}" for name in ("exponentials", "peaks", "sinusoids", "rational", "powers")]
)
"""Ready models; the keys that a config gives one are the arguments of its class."""
