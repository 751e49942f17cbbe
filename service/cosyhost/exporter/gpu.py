"""Metrics of the GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from cosyhost.exporter.exposition import Family, counter, gauge, labels
from cosyhost.host.gpu import Nvml
from cosyhost.host_config import Gpus


def collect(settings: Gpus, nvml: Nvml) -> Iterator[Family]:
    """The families of all GPUs; what one does not tell has no sample."""
    told = nvml.read()
    yield gauge(
        "cosyhost_gpu_up", "Whether NVIDIA's driver and its library answer.", told.reason is None
    )
    yield gauge("cosyhost_gpus_expected", "GPUs the inventory wants here.", settings.expected)

    info = gauge("cosyhost_gpu_info", "A GPU that is there.")
    used = gauge("cosyhost_gpu_memory_used_bytes", "GPU memory in use.")
    total = gauge("cosyhost_gpu_memory_total_bytes", "GPU memory there is.")
    busy = gauge("cosyhost_gpu_utilization_ratio", "Share of the time that a kernel ran.")
    heat = gauge("cosyhost_gpu_temperature_celsius", "The GPU's temperature.")
    power = gauge("cosyhost_gpu_power_watts", "Power drawn.")
    energy = counter("cosyhost_gpu_energy_joules_total", "Energy used since the driver loaded.")
    events = gauge("cosyhost_gpu_clock_event_active", "Whether this holds the clocks down.")
    errors = counter("cosyhost_gpu_ecc_errors_total", "Memory errors over the GPU's life.")
    width = gauge("cosyhost_gpu_pcie_link_width", "PCIe lanes in use.")
    generation = gauge("cosyhost_gpu_pcie_link_generation", "PCIe generation in use.")
    for one in told.gpus:
        gpu = labels(gpu=str(one.index))
        info.add(labels(gpu=str(one.index), uuid=one.uuid, name=one.name), 1)
        used.add(gpu, one.memory_used_bytes)
        total.add(gpu, one.memory_total_bytes)
        busy.add(gpu, one.utilization)
        heat.add(gpu, one.temperature_celsius)
        power.add(gpu, one.power_watts)
        energy.add(gpu, one.energy_joules)
        for reason, active in (one.clock_events or {}).items():
            events.add(labels(gpu=str(one.index), reason=reason), active)
        errors.add(labels(gpu=str(one.index), kind="corrected"), one.ecc_corrected)
        errors.add(labels(gpu=str(one.index), kind="uncorrected"), one.ecc_uncorrected)
        width.add(gpu, one.pcie_width)
        generation.add(gpu, one.pcie_generation)
    yield from (info, used, total, busy, heat, power, energy, events, errors, width, generation)
