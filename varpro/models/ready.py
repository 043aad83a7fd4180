"""The registry of ready curve models, by the names that configs of varpro-fit use."""

from varpro.models.separable import Model
from varpro.registry import Registry

MODELS: Registry[type[Model]] = Registry(
    "kind",
    built_in=[
        f"varpro.models.{name}"
        for name in (
            "exponentials", "stretched", "response", "peaks", "lineshapes", "sinusoids", "rational", "powers",
            "saturation", "relaxation",
        )
    ],
)  # fmt: skip
"""Ready models; the keys that a config gives one are the arguments of its class."""
