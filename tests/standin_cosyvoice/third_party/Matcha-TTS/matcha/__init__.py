"""STAND-IN: upstream keeps Matcha-TTS as a submodule here; nothing of it is needed."""
