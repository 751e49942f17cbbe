/** One prompt audio from the file a person chose to "ready" on the server; knows no page. */

import {
  MAX_S, MIN_S, OPUS, Unusable, encodeWav, judge, partOf, readSound,
} from './sound.js';
import * as memory from './memory.js';
import { Upload } from './uploader.js';

const TRIM_WAIT_MS = 800;
const PATIENCE_S = 4; // longer than this for the lossless one, and the small one is chosen
// Speech at 24 kHz mono, bytes a second: FLAC as measured, and the least it ever takes.
const FLAC_BYTES_S = 27600;
const FLAC_LEAST_BYTES_S = 10000;
const OPUS_BYTES_S = 8200;
// An encoder's padding and a recorder's last block are no longer recording.
export const OVER_S = 0.5;

/** @typedef {'auto' | 'lossless' | 'small'} Mode */

export class Session {
  /**
   * @param {string} key names this prompt among those of the page
   * @param {{base: string, vendor: string, limitBytes: number}} options
   */
  constructor(key, options) {
    this.key = key;
    this.options = options;
    this.listen = () => {};
    /** @type {Mode} */
    this.mode = 'auto';
    this.count = 0; // of recordings so far
    this.turn = 0; // grows with every new audio or cut: what an older turn still does is dropped
    this.#blank();
    this.ready = opusAvailable().then((yes) => { this.canBeSmall = yes; this.#say(); });
  }

  #blank() {
    this.state = 'idle';
    this.name = '';
    this.file = null;
    this.originalBytes = 0;
    this.sound = null;
    this.from = 0;
    this.to = 0;
    this.verdict = null;
    this.encoded = null; // {bytes, sha256, format, seconds, heard: hash of the samples}
    this.progress = null;
    this.failure = null; // {code, figures} of words.*.js, or {problem} of the server
    this.thin_bps = null; // the uplink that made the small format be chosen
    this.switched = false; // and that while sending
    this.refusedAsIs = false;
    this.asBefore = false; // the format is that in which the server got this sound before
    this.lost = false; // and it no longer has that
    this.pinned = false;
  }

  /** A hand is on its way: have at hand what will compress what it chooses. */
  warm() {
    import('./flac.js').then(({ loadLibFlac }) => loadLibFlac(this.options.vendor)).catch(() => {});
    import('./opus.js').catch(() => {});
  }

  /** @param {Blob} file with a `name` when it has one */
  async take(file) {
    const turn = this.#next(true);
    const { mode } = this;
    this.count += 1;
    this.#blank();
    Object.assign(this, { mode, file, name: file.name ?? '', originalBytes: file.size });
    memory.forget(this.key);
    this.#become('preparing');
    try {
      const sound = await readSound(file);
      if (turn !== this.turn) return;
      if (sound && sound.seconds < MIN_S) throw new Unusable('short', { seconds: sound.seconds });
      this.sound = sound;
      this.to = sound ? Math.min(MAX_S, sound.seconds) : 0;
    } catch (error) {
      if (turn === this.turn) this.#fail(error);
      return;
    }
    await this.#prepare(turn);
  }

  /**
   * Chooses another part; it is sent when the handles have been still for a moment.
   * @param {number} from seconds
   * @param {number} to seconds
   */
  trim(from, to) {
    if (from === this.from && to === this.to) return;
    const turn = this.#next(true);
    Object.assign(this, { from, to, pinned: false, failure: null });
    this.#become('preparing');
    this.trimTimer = setTimeout(() => this.#prepare(turn), TRIM_WAIT_MS);
  }

  /** @param {Mode} mode */
  choose(mode) {
    if (mode === this.mode) return;
    this.mode = mode;
    this.switched = false;
    const { encoded } = this;
    const fits = !encoded || (mode === 'small' ? encoded.format === 'opus'
      : encoded.format !== 'opus' || (mode === 'auto' && this.thin_bps));
    // What is under way already is not begun again.
    if (this.sound && (this.state === 'preparing' || !fits)) this.#prepare(this.#next(false));
    else {
      this.#keep(); // a reload must not undo the choice
      this.#say();
    }
  }

  /** Someone waits for this very hash: the format stays as it is. */
  pin() {
    this.pinned = true;
  }

  clear() {
    this.#next(true);
    this.#blank();
    memory.forget(this.key);
    this.#become('idle');
  }

  retryNow() {
    if (this.state === 'failed' && this.encoded) this.#send(this.#next(false));
    else this.upload?.retryNow();
  }

  /** After a reload: what was chosen is shown again, and its upload goes on. */
  async restore() {
    const turn = this.turn;
    const kept = await memory.recall(this.key);
    if (!kept || turn !== this.turn) return;
    this.count ||= 1; // it is the same one when it is sent anew
    const { name, mode, originalBytes, encoded } = kept;
    Object.assign(this, { name, mode, originalBytes, encoded, asBefore: false });
    this.file = new Blob([encoded.bytes]);
    this.#send(turn);
    const sound = await readSound(this.file).catch(() => null);
    if (turn !== this.turn || !sound) return;
    this.sound = sound;
    this.to = Math.min(MAX_S, sound.seconds);
    this.verdict = judge(partOf(sound, this.from, this.to));
    this.#say();
  }

  get trimmed() {
    return !!this.sound && (this.from > 0 || this.sound.total - this.to > 0.01);
  }

  /** A new turn; `drop`: what the server has of the old upload is of no use any more. */
  #next(drop) {
    this.upload?.abort(drop);
    this.upload = null;
    clearTimeout(this.trimTimer);
    if (drop) {
      this.encoded = null;
      this.progress = null;
    }
    return ++this.turn;
  }

  async #prepare(turn) {
    if (turn !== this.turn) return;
    this.#become('preparing');
    try {
      const before = this.encoded?.sha256;
      const { asBefore, ...made } = await this.#encode();
      if (turn !== this.turn) return;
      const sha256 = await sha256hex(made.bytes);
      if (turn !== this.turn) return;
      if (before && before !== sha256 && this.progress?.state !== 'ready') this.#drop(before);
      const seconds = this.sound ? this.to - this.from : 0;
      this.asBefore = asBefore;
      this.encoded = { ...made, sha256, seconds };
    } catch (error) {
      if (turn === this.turn) this.#fail(error);
      return;
    }
    this.#keep();
    this.#send(turn);
  }

  #keep() {
    const { key, name, mode, originalBytes, encoded } = this;
    if (encoded) memory.keep({ key, name, mode, originalBytes, encoded });
  }

  /** What is sent: as the server got it before, else as fits the line. */
  async #encode() {
    const { file, sound, from, to } = this;
    if (!sound) {
      if (file.size > this.options.limitBytes) {
        throw new Unusable('undecodable', { mb: this.options.limitBytes / 1e6 });
      }
      return { format: 'original', bytes: await bytesOf(file) };
    }
    const pcm = partOf(sound, from, to);
    this.verdict = judge(pcm);
    if (this.verdict.refused) throw new Unusable(this.verdict.refused, this.verdict);
    await this.ready;

    const seconds = to - from;
    const asIs = this.trimmed || this.refusedAsIs || file.size > this.options.limitBytes
      ? Infinity : file.size;
    this.thin_bps = this.mode === 'auto' ? this.#thin(Math.min(asIs, seconds * FLAC_BYTES_S)) : null;
    const heard = await sha256hex(new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength));
    const before = this.mode === 'auto' && !this.lost ? memory.sentAs(heard) : null;
    if (before && (before !== 'original' || asIs < Infinity)) {
      // In another format all of it would be sent again.
      const bytes = await this.#as(before, pcm).catch(() => null);
      if (bytes) return { format: before, bytes, heard, asBefore: true };
    }
    const [format, bytes] = await this.#fitting(pcm, seconds, asIs);
    return { format, bytes, heard, asBefore: false };
  }

  /** Never more bytes than the file itself has (`asIs`), where it can be sent as it is. */
  async #fitting(pcm, seconds, asIs) {
    let format = this.canBeSmall && (this.mode === 'small' || this.thin_bps) ? 'opus' : 'flac';
    let bytes = null;
    if (format === 'opus' || asIs > seconds * FLAC_LEAST_BYTES_S) {
      try {
        bytes = await this.#as(format, pcm);
      } catch (error) {
        if (format === 'opus') throw error;
        format = 'wav';
        bytes = await this.#as(format, pcm);
      }
    }
    return bytes && asIs > bytes.length ? [format, bytes] : ['original', await this.#as('original')];
  }

  async #as(format, pcm) {
    if (format === 'original') return bytesOf(this.file);
    if (format === 'opus') return (await import('./opus.js')).encodeOpus(pcm);
    if (format === 'wav') return encodeWav(pcm);
    return (await import('./flac.js')).encodeFlac(pcm, this.options.vendor);
  }

  /** The uplink's speed if it is too slow for so many bytes, else null. */
  #thin(bytes) {
    const bps = memory.uplink();
    return bps && (bytes * 8) / bps > PATIENCE_S ? bps : null;
  }

  #send(turn) {
    const { bytes, sha256 } = this.encoded;
    this.failure = null;
    this.upload = new Upload(bytes, sha256, {
      base: this.options.base,
      bps: memory.uplink(),
      onchange: (progress) => { if (turn === this.turn) this.#follow(progress); },
    });
    this.progress = this.upload.progress;
    this.#become('sending');
    this.upload.run();
  }

  #follow(progress) {
    if (progress.bps) memory.uplinkWas(progress.bps);
    if (progress.state === 'failed') {
      const { problem } = progress;
      // The browser could read what the server can't: send what the browser made of it.
      if (this.encoded.format === 'original' && this.sound && /^prompt_/.test(problem.code)) {
        this.refusedAsIs = true;
        this.#prepare(this.#next(false));
        return;
      }
      this.failure = { problem };
    }
    const lost = this.asBefore && progress.state === 'sending' && !this.pinned;
    if (lost || this.#smallIsQuicker(progress)) {
      this.lost ||= lost;
      this.switched = !lost;
      this.#prepare(this.#next(false));
      return;
    }
    if (progress.state === 'ready') {
      const { heard, format } = this.encoded;
      if (heard) memory.sentWas(heard, format);
      this.encoded.seconds ||= progress.result.seconds;
    }
    this.#become(progress.state);
  }

  #smallIsQuicker({ state, bps, total, acked }) {
    if (state !== 'sending' || !bps || this.mode !== 'auto' || this.pinned) return false;
    if (!this.sound || !this.canBeSmall || this.encoded.format === 'opus' || this.switched) return false;
    const rest_s = ((total - acked) * 8) / bps;
    const small_s = (this.encoded.seconds * OPUS_BYTES_S * 8) / bps + 0.5;
    return rest_s > PATIENCE_S && small_s < 0.8 * rest_s;
  }

  #drop(sha256) {
    fetch(this.options.base + sha256, { method: 'DELETE', keepalive: true }).catch(() => {});
  }

  #fail(error) {
    const known = error instanceof Unusable;
    if (!known) console.error(error);
    this.failure = { code: known ? error.code : 'broken', figures: known ? error.figures : {} };
    this.#become('failed');
  }

  #become(state) {
    this.state = state;
    this.#say();
  }

  #say() {
    this.listen(this);
  }

  /** What the page is told. */
  summary() {
    const { encoded, progress } = this;
    return {
      state: this.state,
      count: this.count,
      sha256: this.state === 'preparing' || !encoded ? null : encoded.sha256,
      seconds: encoded?.seconds ?? 0,
      bytes: encoded?.bytes.length ?? 0,
      sentBytes: progress?.acked ?? 0,
      handedBytes: progress?.sent ?? 0,
      uplink_bps: progress?.bps ?? memory.uplink(),
      format: encoded?.format ?? null,
    };
  }
}

/** Whether this page can encode Opus: WebCodecs exist on https and localhost only. */
async function opusAvailable() {
  try {
    return (await AudioEncoder.isConfigSupported(OPUS)).supported === true;
  } catch {
    return false;
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {Promise<string>} in hex
 */
async function sha256hex(bytes) {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
    : (await import('./sha256.js')).sha256(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {Blob} file */
async function bytesOf(file) {
  return new Uint8Array(await file.arrayBuffer());
}
