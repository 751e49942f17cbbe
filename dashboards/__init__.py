"""Grafana's dashboards as code; `python -m dashboards` writes them to json/, which is committed."""
