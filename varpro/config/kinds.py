"""The registries of kinds that configs choose by name and that modules above this package fill."""

from typing import TYPE_CHECKING

from varpro.registry import Registry

if TYPE_CHECKING:
    from varpro.train.layered.plan import Architecture

NETWORKS: Registry["type[Architecture]"] = Registry("network.name", built_in=["varpro.train.layered.architectures"])
"""Networks of layers, by name."""
