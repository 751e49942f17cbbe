"""The web process: studio, API, health and metrics."""
