"""STAND-IN for upstream's package of the same name: see README.md. It is no speech model."""
