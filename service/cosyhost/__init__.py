"""CosyHost: CosyVoice3 voice cloning that stays usable over a thin uplink."""


def __getattr__(name: str) -> str:
    """`__version__`, asked for only where it is used: it takes longer than all else here."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("cosyhost")
    except PackageNotFoundError:  # run from a source tree
        return "0.0.0+source"
