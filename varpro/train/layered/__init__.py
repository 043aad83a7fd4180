"""Networks of PyTorch layers: their sizes without a framework, and their training, which imports torch."""


def require_torch() -> None:
    """Raise BackendError if PyTorch is not installed; call this before importing a module here that needs it."""
    import varpro.adapters.torch  # noqa: F401
