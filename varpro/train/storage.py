"""Reading the model file of any kind of network, which its attributes identify."""

from pathlib import Path

from varpro.errors import DataError
from varpro.train.layered import require_torch
from varpro.train.model_file import TrainedModel, opened


def load_model(path: str | Path) -> TrainedModel:
    """The model in a file of any kind.  Raises DataError; BackendError if it needs PyTorch and that is not
    installed."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such model file; varpro-train writes model.h5 into its output folder")
    with opened(path) as file:
        layered = "network" in file.attrs
    if layered:
        require_torch()
        from varpro.train.layered.storage import load_layered

        return load_layered(path)
    from varpro.train.scalarized.storage import load_network

    return load_network(path)
