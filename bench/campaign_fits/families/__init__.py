"""Model families of the campaign; each registers itself when its file is imported."""

from campaign_fits.families import curves, decays, peaks, waves  # noqa: F401
from campaign_fits.families.family import FAMILIES, Draw, Family, Parameter

__all__ = ["FAMILIES", "Draw", "Family", "Parameter"]
