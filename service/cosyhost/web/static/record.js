/** The microphone: one recording of at most MAX_S, as the browser's own recorder makes it. */

import { MAX_S } from './sound.js';

const LOOK_MS = 80;

/**
 * Records until `stop()` or MAX_S. Echo cancelling and the like would change the voice: off.
 * @param {(seconds: number, level: number) => void} onlevel level 0 to 1
 * @returns {Promise<{stop: () => void, cancel: () => void, file: Promise<File | null>}>}
 * @throws {DOMException} as getUserMedia does
 */
export async function record(onlevel) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const recorder = new MediaRecorder(stream, { audioBitsPerSecond: 128000 });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  // Chromium reads the samples only of what leads to an output: to one nobody hears.
  const nowhere = context.createMediaStreamDestination();
  const source = context.createMediaStreamSource(stream);
  source.connect(analyser).connect(nowhere);
  context.resume();
  const samples = new Float32Array(analyser.fftSize);
  const parts = [];
  let cancelled = false;
  let began = performance.now();

  const stop = () => { if (recorder.state !== 'inactive') recorder.stop(); };
  const look = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const rms = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    const level = Math.max(0, Math.min(1, 1 + Math.log10(rms + 1e-6) / 2.5)); // -50 dB to 0
    const seconds = (performance.now() - began) / 1000;
    onlevel(Math.min(MAX_S, seconds), level);
    if (seconds >= MAX_S) stop();
  }, LOOK_MS);

  const file = new Promise((resolve) => {
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      clearInterval(look);
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      resolve(cancelled ? null : new File(parts, '', { type: recorder.mimeType }));
    };
  });
  stream.getTracks().forEach((track) => { track.onended = stop; }); // unplugged
  recorder.start();
  began = performance.now();
  return { stop, file, cancel: () => { cancelled = true; stop(); } };
}
