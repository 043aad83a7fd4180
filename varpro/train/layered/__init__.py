"""Networks of PyTorch layers: their sizes without a framework, and their training, which imports torch."""


def require_torch() -> None:
    """Raise BackendError where PyTorch is not installed; to be called before a module here that imports it."""
    import varpro.adapters.torch  # noqa: F401
