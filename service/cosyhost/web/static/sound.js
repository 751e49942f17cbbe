/** A person's file as mono samples: decoded within bounds, cut, judged and drawn. */

export const RATE = 24000; // what the engines take
export const MIN_S = 3;
export const MAX_S = 30;
const MAX_FILE_BYTES = 200e6;
// Decoded samples take 5.8 MB a minute and channel: a longer recording is opened up to here.
const MAX_DECODE_S = 600;
const UNKNOWN_LENGTH_BYTES = 25e6;
// The server refuses the same (cosyhost.audio.decode): say so before anything is sent.
const MIN_SOURCE_RATE = 16000;
const SILENT_DB = -60;
const CLIPPED_SHARE = 0.05;
const QUIET_DB = -36;

/** The small format, as WebCodecs takes it. */
export const OPUS = {
  codec: 'opus',
  sampleRate: RATE,
  numberOfChannels: 1,
  bitrate: 64000,
  opus: { frameDuration: 20000, application: 'audio', complexity: 9 },
};

/** A file that can't be used; `code` names a sentence of words.*.js. */
export class Unusable extends Error {
  constructor(code, figures = {}) {
    super(code);
    this.code = code;
    this.figures = figures;
  }
}

/**
 * @typedef {object} Sound
 * @property {Float32Array} pcm mono at RATE
 * @property {number} seconds of what was decoded
 * @property {number} total seconds of the whole recording, when it is longer than what was decoded
 * @property {boolean} cut the file ends before the length it declares
 */

/**
 * @param {Blob} file
 * @returns {Promise<Sound | null>} null when this browser can't decode it
 */
export async function readSound(file) {
  if (!file.size) throw new Unusable('empty');
  if (file.size > MAX_FILE_BYTES) throw new Unusable('huge', { mb: Math.round(file.size / 1e6) });
  const head = headOf(new Uint8Array(await file.slice(0, 65536).arrayBuffer()), file.size);
  if (head.rate && head.rate < MIN_SOURCE_RATE) throw new Unusable('low_rate', { rate: head.rate });

  const declared = head.seconds ?? (file.size > 1e6 ? await declaredSeconds(file) : null);
  let part = file;
  if (declared > MAX_DECODE_S) {
    part = file.slice(0, Math.ceil((file.size * MAX_DECODE_S) / declared) + 65536);
  } else if (!declared && file.size > UNKNOWN_LENGTH_BYTES) {
    part = file.slice(0, UNKNOWN_LENGTH_BYTES);
  }
  let buffer;
  try {
    const Context = window.OfflineAudioContext || window.webkitOfflineAudioContext;
    buffer = await new Context(1, 1, RATE).decodeAudioData(await part.arrayBuffer());
  } catch {
    // An MP4 whose index comes last can't be opened in part.
    if (part !== file) throw new Unusable('long', { minutes: MAX_DECODE_S / 60 });
    return null;
  }
  if (!buffer.length) return null;
  const total = part === file ? buffer.duration : Math.max(declared ?? 0, buffer.duration);
  return { pcm: monoOf(buffer), seconds: buffer.duration, total, cut: head.cut };
}

/** What the first bytes say of rate and length; the decoder resamples, so it can't be asked. */
function headOf(bytes, size) {
  const view = new DataView(bytes.buffer);
  const tag = (at) => (at + 4 <= bytes.length ? String.fromCharCode(...bytes.slice(at, at + 4)) : '');
  if (tag(0) === 'fLaC' && bytes.length > 26) {
    const rate = (bytes[18] << 12) | (bytes[19] << 4) | (bytes[20] >> 4);
    return { rate, seconds: rate && view.getUint32(22) ? view.getUint32(22) / rate : null };
  }
  if (tag(0) !== 'RIFF' || tag(8) !== 'WAVE') return {};
  let rate = 0, bytesPerSecond = 0;
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    if (tag(at) === 'fmt ' && at + 20 <= bytes.length) {
      rate = view.getUint32(at + 12, true);
      bytesPerSecond = view.getUint32(at + 16, true);
    } else if (tag(at) === 'data') {
      const there = size - at - 8;
      const open = length === 0 || length >= 0x7ffff000; // written by a program that can't seek
      const seconds = bytesPerSecond ? Math.min(length || there, there) / bytesPerSecond : null;
      return { rate, seconds, cut: !open && length > there + 1 };
    }
    at += 8 + length + (length % 2);
  }
  return { rate };
}

/** The length by the media element, which reads the index only. */
function declaredSeconds(file) {
  return new Promise((resolve) => {
    const probe = document.createElement('audio');
    const done = (seconds) => {
      clearTimeout(timer);
      URL.revokeObjectURL(probe.src);
      probe.removeAttribute('src');
      resolve(Number.isFinite(seconds) && seconds > 0 ? seconds : null);
    };
    const timer = setTimeout(() => done(null), 2000);
    probe.preload = 'metadata';
    probe.onloadedmetadata = () => done(probe.duration);
    probe.onerror = () => done(null);
    probe.src = URL.createObjectURL(file);
  });
}

/** @param {AudioBuffer} buffer */
function monoOf(buffer) {
  const channels = buffer.numberOfChannels;
  if (channels === 1) return buffer.getChannelData(0);
  const out = new Float32Array(buffer.length);
  for (let channel = 0; channel < channels; channel++) {
    const data = buffer.getChannelData(channel);
    for (let i = 0; i < out.length; i++) out[i] += data[i] / channels;
  }
  return out;
}

/**
 * @param {Sound} sound
 * @param {number} from seconds
 * @param {number} to seconds
 * @returns {Float32Array} that part, not copied
 */
export function partOf(sound, from, to) {
  return sound.pcm.subarray(Math.round(from * RATE), Math.round(to * RATE));
}

/**
 * What to say about a part before it is sent.
 * @param {Float32Array} pcm
 * @returns {{level_db: number, refused: 'silent' | 'clipped' | null, hint: 'quiet' | 'loud' | null}}
 */
export function judge(pcm) {
  let sum = 0, full = 0;
  for (const sample of pcm) {
    sum += sample * sample;
    if (sample >= 0.999 || sample <= -0.999) full++;
  }
  const level_db = 10 * Math.log10(sum / Math.max(1, pcm.length) + 1e-12);
  const share = full / Math.max(1, pcm.length);
  const refused = level_db < SILENT_DB ? 'silent' : share > CLIPPED_SHARE ? 'clipped' : null;
  const hint = level_db < QUIET_DB ? 'quiet' : share > CLIPPED_SHARE / 50 ? 'loud' : null;
  return { level_db, refused, hint };
}

/**
 * @param {Float32Array} pcm
 * @param {number} columns
 * @returns {Float32Array} the largest absolute sample of each column
 */
export function peaksOf(pcm, columns) {
  const peaks = new Float32Array(columns);
  const width = pcm.length / columns;
  for (let column = 0; column < columns; column++) {
    const end = Math.min(pcm.length, Math.ceil((column + 1) * width));
    // A few hundred looks at a column are enough to draw it.
    const step = Math.max(1, Math.floor(width / 300));
    for (let i = Math.floor(column * width); i < end; i += step) {
      peaks[column] = Math.max(peaks[column], Math.abs(pcm[i]));
    }
  }
  return peaks;
}

/** @param {Float32Array} pcm */
export function toInt16(pcm) {
  return Int16Array.from(pcm, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768))));
}

/**
 * What is sent where libflac can't run.
 * @param {Float32Array} pcm mono at RATE
 * @returns {Uint8Array} a 16-bit WAV file
 */
export function encodeWav(pcm) {
  const samples = toInt16(pcm);
  const out = new Uint8Array(44 + samples.length * 2);
  const view = new DataView(out.buffer);
  const tag = (at, text) => out.set(new TextEncoder().encode(text), at);
  tag(0, 'RIFF');
  view.setUint32(4, out.length - 8, true);
  tag(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  tag(36, 'data');
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, i) => view.setInt16(44 + i * 2, sample, true));
  return out;
}
