"""The GPUs, as NVIDIA's management library (NVML) sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")

# Why a clock is lower than it could be: NVML's bits (nvml.h, nvmlClocksEventReasons) and our names.
# Idle, and clocks that somebody set, are no events.
CLOCK_EVENTS = {
    "power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "power_brake": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
}


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment; None for what this one or its driver does not tell (under MIG, say).

    `utilization` is a ratio from 0 to 1, energy counts since the driver was loaded, ECC errors over
    the GPU's life. `clock_events` says of each of CLOCK_EVENTS whether it is so now.
    """

    index: int
    uuid: str
    name: str
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    utilization: float | None
    temperature_celsius: int | None
    power_watts: float | None
    energy_joules: float | None
    clock_events: dict[str, bool] | None
    ecc_corrected: int | None
    ecc_uncorrected: int | None
    pcie_width: int | None
    pcie_generation: int | None


@dataclass(frozen=True)
class Gpus:
    """What NVML told: the GPUs it reaches, or in `reason` (English) why it told nothing."""

    gpus: tuple[Gpu, ...]
    reason: str | None


class Nvml:
    """NVML, loaded when it is first asked and, while it fails, at each further time.

    Without a library a try costs some 70 microseconds. One caller at a time.
    """

    def __init__(self) -> None:
        self._ready = False

    def read(self) -> Gpus:
        """The GPUs at this moment; raises nothing for a driver or a GPU that is missing."""
        try:
            if not self._ready:
                pynvml.nvmlInit()
                self._ready = True
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self.close()
            return Gpus((), f"NVML: {error}")
        found = (_gpu(index) for index in range(count))
        return Gpus(tuple(gpu for gpu in found if gpu), None)

    def close(self) -> None:
        """Let go of the driver, so that it can be replaced; `read` loads it again."""
        if self._ready:
            self._ready = False
            _asked(pynvml.nvmlShutdown)


def _gpu(index: int) -> Gpu | None:
    """The GPU of this index; None if it can't be reached (it fell off the bus)."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
    except pynvml.NVMLError:
        return None
    memory = _asked(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _asked(pynvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _asked(pynvml.nvmlDeviceGetPowerUsage, handle)
    millijoules = _asked(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=name,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        utilization=None if rates is None else rates.gpu / 100,
        temperature_celsius=_asked(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        power_watts=None if milliwatts is None else milliwatts / 1000,
        energy_joules=None if millijoules is None else millijoules / 1000,
        clock_events=_clock_events(handle),
        ecc_corrected=_ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        ecc_uncorrected=_ecc(handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        pcie_width=_asked(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        pcie_generation=_asked(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
    )


def _clock_events(handle: Any) -> dict[str, bool] | None:
    bits = _asked(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if bits is None:  # drivers before 535 know it by its older name
        bits = _asked(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return None if bits is None else {name: bool(bits & bit) for name, bit in CLOCK_EVENTS.items()}


def _ecc(handle: Any, sort: int) -> int | None:
    return _asked(pynvml.nvmlDeviceGetTotalEccErrors, handle, sort, pynvml.NVML_AGGREGATE_ECC)


def _asked(ask: Callable[..., T], *arguments: Any) -> T | None:
    """NVML's answer; None where this GPU, its mode or its driver has none."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None
