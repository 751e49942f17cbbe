"""Readings of the machine itself: its links, its GPUs, its disks. No metrics, no judgement."""
