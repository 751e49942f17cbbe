/** Opus through WebCodecs, in an Ogg container of our own (RFC 3533, RFC 7845). */

import { OPUS, RATE } from './sound.js';

const GRANULE_RATE = 48000; // Ogg Opus counts in 48 kHz samples, whatever goes in
const FRAME = 960; // 20 ms of them
// libopus looks ahead 6.5 ms. Chromium reports it in samples of the input rate, 156 for 24 kHz,
// so what the browser reports can't be used.
const PRE_SKIP = 312;

/**
 * The same samples give the same bytes, so that a hash finds what was sent before.
 * @param {Float32Array} pcm mono at RATE
 * @returns {Promise<Uint8Array>} an Ogg Opus file
 */
export async function encodeOpus(pcm) {
  const packets = [];
  let failure = null;
  const encoder = new AudioEncoder({
    output: (chunk) => {
      const packet = new Uint8Array(chunk.byteLength);
      chunk.copyTo(packet);
      packets.push(packet);
    },
    error: (error) => { failure = error; },
  });
  encoder.configure(OPUS);
  // 40 ms of silence push the last samples through the look-ahead.
  const padded = new Float32Array(pcm.length + RATE / 25);
  padded.set(pcm);
  for (let at = 0; at < padded.length; at += RATE) {
    const data = padded.slice(at, at + RATE);
    const block = new AudioData({
      format: 'f32-planar',
      sampleRate: RATE,
      numberOfFrames: data.length,
      numberOfChannels: 1,
      timestamp: Math.round((at / RATE) * 1e6),
      data,
    });
    encoder.encode(block);
    block.close();
  }
  await encoder.flush();
  encoder.close();
  if (failure) throw failure;

  const end = PRE_SKIP + Math.round((pcm.length * GRANULE_RATE) / RATE);
  return oggOpus(packets.slice(0, Math.ceil(end / FRAME)), end);
}

/**
 * @param {Uint8Array[]} packets 20 ms each
 * @param {number} end granule position of the end: pre-skip + samples at 48 kHz
 */
function oggOpus(packets, end) {
  const pages = [page([opusHead()], 0, 0, 2), page([opusTags()], 0, 1, 0)];
  const perPage = 50;
  for (let at = 0; at < packets.length; at += perPage) {
    const group = packets.slice(at, at + perPage);
    const last = at + perPage >= packets.length;
    const granule = last ? end : (at + perPage) * FRAME;
    pages.push(page(group, granule, pages.length, last ? 4 : 0)); // 4: end of stream
  }
  return joined(pages);
}

function opusHead() {
  const head = new Uint8Array(19);
  const view = new DataView(head.buffer);
  head.set(ascii('OpusHead'));
  head[8] = 1; // version
  head[9] = 1; // channels
  view.setUint16(10, PRE_SKIP, true);
  view.setUint32(12, RATE, true);
  return head;
}

function opusTags() {
  const vendor = ascii('cosyhost');
  const length = new Uint8Array([vendor.length, 0, 0, 0]);
  return joined([ascii('OpusTags'), length, vendor, new Uint8Array(4)]);
}

function page(packets, granule, sequence, flags) {
  const lacing = packets.flatMap((packet) => [
    ...new Array(Math.floor(packet.length / 255)).fill(255),
    packet.length % 255,
  ]);
  const header = new Uint8Array(27 + lacing.length);
  const view = new DataView(header.buffer);
  header.set(ascii('OggS'));
  header[5] = flags;
  view.setUint32(6, granule, true);
  view.setUint32(14, 1, true); // serial: constant, see encodeOpus
  view.setUint32(18, sequence, true);
  header[26] = lacing.length;
  header.set(lacing, 27);
  const out = joined([header, ...packets]);
  new DataView(out.buffer).setUint32(22, crc(out), true);
  return out;
}

function crc(bytes) {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 24;
    for (let bit = 0; bit < 8; bit++) sum = sum < 0 ? (sum << 1) ^ 0x04c11db7 : sum << 1;
  }
  return sum >>> 0;
}

function ascii(text) {
  return new TextEncoder().encode(text);
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
