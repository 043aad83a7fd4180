"""One config system for all programs: files, overrides and errors, and a module for each kind of config.

`load_config` reads a training run, whose kind follows from its keys; `varpro.config.fit` holds the configs of fits.
Kinds (networks, ready models) are looked up in registries, so this package has no list of their names.
"""
