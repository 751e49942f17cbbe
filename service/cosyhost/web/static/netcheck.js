/**
 * Measures the line to the service, as `cosyhost netcheck` does (service/cosyhost/netcheck/
 * measure.py says why so): the latency, then growing transfers each way, bounded in bytes and time;
 * what counts are the largest, each less the latency.
 */

import { ask } from './kit.js';

const PATH = '/v1/netcheck';
const PINGS = 10;
const FIRST_BYTES = 32768;
const GROWTH = 4;
const MOST_BYTES = 8e6;
const MOST_MS = 10_000;
const ENOUGH_MS = 2000;
const MOST_TRANSFERS = 8;
const TRANSFER_MS = 30_000;
const HOLDS_FROM = 0.9; // TCP delivers at most 94 % of a line's rate
const RANDOM_BYTES = 65536; // what crypto gives at once

/** @returns {Promise<Response>} within the time of a transfer, or a TypeError */
const soon = (path, init = {}) => ask(PATH + path, { ...init, signal: AbortSignal.timeout(TRANSFER_MS) });

/** Milliseconds of an empty request; the browser's own clock of it leaves this page's work out. */
async function ping(turn) {
  const url = `/ping?${turn}-${Date.now()}`;
  const began = performance.now();
  await soon(url);
  const took = performance.now() - began;
  const entry = performance.getEntriesByName(new URL(PATH + url, location.href).href).pop();
  return entry?.requestStart ? entry.responseStart - entry.requestStart : took;
}

async function download(bytes) {
  const response = await soon(`/download?bytes=${bytes}`);
  const reader = response.body.getReader();
  let come = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) come += part.value.length;
  if (come !== bytes) throw new TypeError(`${come} of ${bytes} bytes came`);
}

/** A blob: as an array Chromium sends it no quicker than 135 Mbit/s. */
function random(bytes) {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += RANDOM_BYTES) crypto.getRandomValues(data.subarray(at, at + RANDOM_BYTES));
  return new Blob([data]);
}

async function upload(bytes, data) {
  const headers = { 'Content-Type': 'application/octet-stream' };
  await (await soon('/upload', { method: 'POST', headers, body: data })).json();
}

/** The rate in Mbit/s, grown until a transfer took long enough or bytes or time are used up. */
async function rate(transfer, largest, latency, data) {
  const began = performance.now();
  const taken = [];
  let left = MOST_BYTES;
  let size = Math.min(FIRST_BYTES, largest);
  while (taken.length < MOST_TRANSFERS) {
    const body = data?.slice(0, size);
    const at = performance.now();
    await transfer(size, body);
    const whole = performance.now() - at;
    const ms = Math.max(whole - latency, whole / 2);
    taken.push({ size, ms });
    left -= size;
    const leftMs = MOST_MS - (performance.now() - began);
    if (ms >= ENOUGH_MS || leftMs <= 0) break;
    const next = Math.min(size * GROWTH, largest, left, Math.floor((size / ms) * leftMs));
    if (next < size) break;
    size = next;
  }
  const counted = taken.filter((one) => one.size > size / 2);
  const sum = (of) => counted.reduce((total, one) => total + one[of], 0);
  return mbitS(sum('size'), sum('ms') / 1000);
}

/** Mbit/s, SI. */
export const mbitS = (bytes, seconds) => (bytes * 8) / 1e6 / seconds;

/**
 * @param {(step: 'latency' | 'download' | 'upload') => void} onstep is told what is measured now
 * @returns {Promise<{latency: number, jitter: number, down: number, up: number, terms: object,
 *   holds: boolean | null}>} milliseconds and Mbit/s, seen from here; `holds`: whether the line is
 *   what the tier asks, null where it asks nothing
 * @throws as `ask` does
 */
export async function measure(onstep) {
  onstep('latency');
  const terms = await (await soon('')).json();
  await ping(0);
  const times = [];
  for (let turn = 1; turn <= PINGS; turn++) times.push(await ping(turn));
  const sorted = times.toSorted((a, b) => a - b);
  const latency = (sorted[PINGS / 2 - 1] + sorted[PINGS / 2]) / 2;
  const jitter = times.slice(1).reduce((sum, ms, i) => sum + Math.abs(ms - times[i]), 0) / (PINGS - 1);
  onstep('download');
  const down = await rate(download, terms.limits.download_bytes, latency);
  onstep('upload');
  const largest = terms.limits.upload_bytes;
  const up = await rate(upload, largest, latency, random(largest));
  const { min_up_mbit: sends, min_down_mbit: takes } = terms.link;
  const holds = sends || takes ? down >= sends * HOLDS_FROM && up >= takes * HOLDS_FROM : null;
  return { latency, jitter, down, up, terms, holds };
}
