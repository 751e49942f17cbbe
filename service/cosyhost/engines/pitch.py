"""The fundamental frequency of a voice, for the preview engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOWEST_HZ, HIGHEST_HZ = 70.0, 400.0
_FRAME_S = 0.04
# Below this height of the autocorrelation peak a frame is noise or a mix of sounds, not a vowel.
_VOICED = 0.5


def median_pitch(samples: npt.NDArray[np.float32], sample_rate: int) -> float | None:
    """The median pitch in Hz over voiced frames, or None when nothing is voiced.

    Peak of the normalised autocorrelation per 40 ms frame (Rabiner 1977, "On the use of
    autocorrelation analysis for pitch detection"). `samples` has shape [samples].
    """
    size = int(_FRAME_S * sample_rate)
    shortest, longest = int(sample_rate / HIGHEST_HZ), int(sample_rate / LOWEST_HZ)
    loud = np.sqrt(np.mean(samples**2)) * 0.5
    found = []
    for start in range(0, len(samples) - size, size):
        frame = samples[start : start + size].astype(np.float64)
        frame -= frame.mean()
        energy = float(frame @ frame)
        if energy <= loud * loud * size:
            continue
        spectrum = np.abs(np.fft.rfft(frame, 2 * size)) ** 2
        correlation = np.fft.irfft(spectrum)[:size] / energy
        # Fewer samples overlap at a longer lag; undo that, or high pitches win.
        correlation *= size / (size - np.arange(size))
        lag = shortest + int(np.argmax(correlation[shortest:longest]))
        # The true period is the shortest lag that is nearly as good as the best one.
        for divisor in (4, 3, 2):
            part = lag // divisor
            if part >= shortest and correlation[part] > 0.9 * correlation[lag]:
                lag = part
                break
        if correlation[lag] > _VOICED:
            found.append(sample_rate / lag)
    return float(np.median(found)) if found else None
