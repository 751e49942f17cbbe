"""CosyHost: CosyVoice3 voice cloning that stays usable over a thin uplink."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cosyhost")
except PackageNotFoundError:  # run from a source tree
    __version__ = "0.0.0+source"
