/** FLAC through libflacjs (wasm), fetched when it is first needed. A CSP must allow 'wasm-unsafe-eval'. */

import { RATE, toInt16 } from './sound.js';

const LOAD_TIMEOUT_MS = 30000;
const LEVEL = 5;
let loading = null;

/**
 * @param {string} vendor address of the folder with libflac's files, with a slash at its end
 * @returns {Promise<object>} libflacjs's API
 */
export function loadLibFlac(vendor) {
  loading ??= new Promise((resolve, reject) => {
    if (!globalThis.WebAssembly) throw new Error('no WebAssembly');
    const ownFetch = window.fetch;
    window.FLAC_SCRIPT_LOCATION = vendor;
    const script = document.createElement('script');
    script.src = `${vendor}libflac.min.wasm.js`;
    script.onload = () => {
      window.fetch = ownFetch; // libflacjs leaves a wrapper behind
      const flac = window.Flac;
      if (flac.isReady()) resolve(flac);
      else flac.on('ready', () => resolve(flac));
    };
    script.onerror = () => reject(new Error('libflac did not load'));
    setTimeout(() => reject(new Error('libflac did not start')), LOAD_TIMEOUT_MS);
    document.head.append(script);
  }).catch((error) => {
    loading = null; // the next audio tries again
    throw error;
  });
  return loading;
}

/**
 * The same samples give the same bytes, so that a hash finds what was sent before.
 * @param {Float32Array} pcm mono at RATE
 * @param {string} vendor see loadLibFlac
 * @returns {Promise<Uint8Array>} a FLAC file
 */
export async function encodeFlac(pcm, vendor) {
  const flac = await loadLibFlac(vendor);
  const samples = Int32Array.from(toInt16(pcm));
  const encoder = flac.create_libflac_encoder(RATE, 1, 16, LEVEL, samples.length, false, 0);
  if (!encoder) throw new Error('libflac: no encoder');
  const parts = [];
  let info = null;
  const failed = flac.init_encoder_stream(
    encoder,
    (bytes) => { parts.push(bytes.slice()); },
    (metadata) => { info = metadata; },
  );
  const ok = !failed
    && flac.FLAC__stream_encoder_process_interleaved(encoder, samples, samples.length);
  flac.FLAC__stream_encoder_finish(encoder);
  flac.FLAC__stream_encoder_delete(encoder);
  if (!ok || !info) throw new Error('libflac: encoding failed');

  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  writeStreamInfo(out, info);
  return out;
}

/** A stream can't seek back, so what is known only at the end is written into STREAMINFO here. */
function writeStreamInfo(file, info) {
  const view = new DataView(file.buffer);
  const set24 = (at, value) => {
    view.setUint8(at, value >> 16);
    view.setUint16(at + 1, value & 0xffff);
  };
  view.setUint16(8, info.min_blocksize);
  view.setUint16(10, info.max_blocksize);
  set24(12, info.min_framesize);
  set24(15, info.max_framesize);
  view.setUint32(22, info.total_samples);
  for (let i = 0; i < 16; i++) file[26 + i] = parseInt(info.md5sum.slice(2 * i, 2 * i + 2), 16);
}
