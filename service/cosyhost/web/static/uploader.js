/**
 * The resumable upload of one encoded audio, named by its SHA-256. Every figure it gives counts
 * bytes the server has acknowledged: what the browser calls sent may still lie in its buffers.
 */

export const CHUNK_BYTES = 32768;
// While an answer comes back and while one lane mends a loss, the others fill the line: 1.19 times
// what one TCP connection takes (two lanes: 1.45; 5 Mbit/s, 40 ms, 1 % loss). More than 4 would
// cost more than 128 KiB after an outage, and leave too few of a browser's 6 for the rest.
const LANES = 4;
const STALL_MS = 6000;
const PROBE_MS = 3000;
const MAX_DEADLINE_MS = 60000;
const FIRST_WAIT_MS = 300;
const MAX_WAIT_MS = 8000;
const WINDOW_MS = 8000; // the speed is that of the last seconds
const TICK_MS = 250;
const ASLEEP_MS = 4000;

/** A failure that goes away by itself: tried again. */
class Passing extends Error {
  constructor(why, { afterMs = 0, problem = null } = {}) {
    super(why);
    this.afterMs = afterMs;
    this.problem = problem;
  }
}

/** A refusal: trying again would change nothing. */
class Final extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

/**
 * @typedef {object} Progress
 * @property {'sending'|'stalled'|'retrying'|'checking'|'ready'|'failed'} state
 * @property {number} total bytes
 * @property {number} acked bytes the server has
 * @property {number} sent bytes handed to the network, repeated ones included
 * @property {number | null} bps measured from acknowledged chunks, null before the first
 * @property {number | null} eta_s
 * @property {boolean} resumed something broke and it went on
 * @property {boolean} already the server had it all: nothing was sent
 * @property {object | null} problem the server's (RFC 9457), when it gave one
 * @property {object | null} result `seconds` and `sample_rate` once ready
 */

export class Upload {
  /**
   * @param {Uint8Array} bytes
   * @param {string} sha256 of them, in hex
   * @param {object} options
   * @param {string} options.base where uploads live, with a slash at its end
   * @param {number | null} [options.bps] the uplink as last measured, to know slow from stalled
   * @param {(progress: Progress) => void} options.onchange
   */
  constructor(bytes, sha256, { base, bps = null, onchange }) {
    this.url = base + sha256;
    this.bytes = bytes;
    this.have = new Set();
    this.onchange = onchange;
    this.progress = {
      state: 'sending', total: bytes.length, acked: 0, sent: 0, bps: null, eta_s: null,
      resumed: false, already: false, problem: null, result: null,
    };
    this.guess_bps = bps;
    this.abreast = LANES; // chunks that begin together
    this.acks = []; // {at, bytes}: acknowledged since sending last began without a break
    this.broke = 0; // failures in a row, without an acknowledged chunk between them
    this.tries = 0; // the same of requests that got no answer: their deadline grows
    this.stop = null; // ends the requests under way
    this.wake = null; // ends the wait before the next try
    this.ended = false;
  }

  /** Sends until the server has all; resolves when ready, failed or aborted. */
  async run() {
    const unwatch = this.#watchTheClock();
    const wake = () => this.retryNow();
    const seen = () => document.visibilityState === 'visible' && this.wake?.();
    window.addEventListener('online', wake);
    document.addEventListener('visibilitychange', seen);
    let resentDamaged = false;
    try {
      while (!this.ended) {
        try {
          await this.#round();
        } catch (error) {
          if (this.ended) break;
          const damaged = error instanceof Final && error.problem.code === 'upload_damaged';
          if (damaged && !resentDamaged) {
            resentDamaged = true;
            this.#forget();
          } else if (error instanceof Final) {
            this.#end('failed', { problem: error.problem });
          } else {
            await this.#pause(error);
          }
        }
      }
    } finally {
      unwatch();
      window.removeEventListener('online', wake);
      document.removeEventListener('visibilitychange', seen);
    }
  }

  /**
   * Stops for good.
   * @param {boolean} [drop] let the server delete what it has of it
   */
  abort(drop = false) {
    const unfinished = !this.ended && (this.progress.sent > 0 || this.have.size > 0);
    this.ended = true;
    this.stop?.abort();
    this.wake?.();
    if (drop && unfinished) {
      fetch(this.url, { method: 'DELETE', keepalive: true }).catch(() => {});
    }
  }

  /** Ends a wait, or drops requests on a connection that is gone, and tries at once. */
  retryNow() {
    this.broke = 0;
    this.tries = 0;
    if (this.wake) this.wake();
    else this.stop?.abort();
  }

  /** One go: ask what is there, send what is missing, let the server check it. */
  async #round() {
    this.stop = new AbortController();
    this.#take(await this.#ask());
    if (this.ended) return;
    const missing = [];
    for (let at = 0; at < this.bytes.length; at += CHUNK_BYTES) {
      if (!this.have.has(at)) missing.push(at);
    }
    if (!missing.length) {
      // All is there and it is still no prompt: the server is at it.
      this.#tell('checking');
      throw new Passing('checking', { afterMs: 500 });
    }
    this.#tell('sending');
    this.acks = [{ at: performance.now(), bytes: 0 }];
    this.abreast = Math.min(LANES, missing.length);
    const lane = async () => {
      while (missing.length && !this.ended) await this.#send(missing.shift());
    };
    try {
      // After a timeout nobody knows how slow the line is: one alone until an answer comes.
      if (this.tries && !this.ended) await this.#send(missing.shift());
      await Promise.all(Array.from({ length: LANES }, lane));
    } catch (error) {
      this.stop.abort(); // the other lanes' chunks will be asked about, then sent again
      throw error;
    }
    if (!this.ended) this.#tell('checking'); // and the next round asks
  }

  async #ask() {
    const response = await this.#request({ method: 'GET' }, PROBE_MS);
    if (response.status === 404) return { complete: false, have: [] };
    return response.json();
  }

  async #send(at) {
    const chunk = this.bytes.subarray(at, at + CHUNK_BYTES);
    this.progress.sent += chunk.length;
    const response = await this.#request({
      method: 'PATCH',
      headers: {
        'Content-Type': 'application/offset+octet-stream',
        'Upload-Offset': String(at),
        'Upload-Length': String(this.bytes.length),
      },
      body: chunk,
    }, STALL_MS, LANES * CHUNK_BYTES);
    this.have.add(at);
    this.broke = 0;
    this.tries = 0;
    this.#measure(chunk.length, response.status === 200);
    if (response.status === 200) this.#take(await response.json());
    else this.#tell('sending');
  }

  /** A request with a deadline; a slow line that moves is given the time that it needs. */
  async #request(init, leastMs, bytes = 0) {
    const bps = this.progress.bps ?? this.guess_bps;
    const needed = bps ? (3 * bytes * 8000) / bps : 0;
    const patience = Math.min(2 ** this.tries, bytes ? 16 : 4);
    const deadline = Math.min(MAX_DEADLINE_MS, Math.max(leastMs, needed) * patience);
    const signal = this.stop.signal;
    const own = new AbortController();
    const pass = () => own.abort();
    signal.addEventListener('abort', pass);
    let late = false;
    let asked = performance.now(), ticked = asked;
    const watch = setInterval(() => {
      const now = performance.now();
      // The page itself stood still (asleep, throttled): answers may be waiting to be read.
      if (now - ticked > 8 * TICK_MS) asked += now - ticked;
      ticked = now;
      if (now - asked < deadline) return;
      late = true;
      own.abort();
    }, TICK_MS);
    let response;
    try {
      response = await fetch(this.url, {
        ...init, signal: own.signal, cache: 'no-store', credentials: 'same-origin',
      });
      if (!response.ok && !(init.method === 'GET' && response.status === 404)) {
        throw await failureOf(response);
      }
      return response;
    } catch (error) {
      if (error instanceof Passing || error instanceof Final) throw error;
      if (late) this.tries++;
      throw new Passing(late ? 'stalled' : 'lost');
    } finally {
      clearInterval(watch);
      signal.removeEventListener('abort', pass);
    }
  }

  /** The server's word on what it has. */
  #take(answer) {
    if (answer.complete) {
      this.progress.acked = this.bytes.length;
      this.#end('ready', { result: answer, already: !this.progress.sent && !this.progress.resumed });
      return;
    }
    this.have = new Set(answer.have ?? []);
    this.#count();
  }

  #count() {
    let acked = 0;
    for (const at of this.have) acked += Math.min(CHUNK_BYTES, this.bytes.length - at);
    this.progress.acked = acked;
  }

  #measure(bytes, last) {
    this.#count();
    const now = performance.now();
    this.acks.push({ at: now, bytes });
    while (this.acks.length > LANES + 1 && now - this.acks[0].at > WINDOW_MS) this.acks.shift();
    const [first, ...later] = this.acks;
    const sum = later.reduce((total, ack) => total + ack.bytes, 0);
    // The first answers have shared the line with the other lanes' chunks: they say too little.
    if (later.length < this.abreast) return;
    const bps = (sum * 8000) / Math.max(1, now - first.at);
    // The last answer waits for the server's check: the line is at least that quick.
    const known = this.progress.bps ?? this.guess_bps;
    if (!last || bps > (known ?? Infinity)) this.progress.bps = bps;
  }

  #forget() {
    this.have.clear();
    this.progress.acked = 0;
  }

  async #pause(error) {
    const state = error.message === 'stalled' ? 'stalled' : 'retrying';
    if (error.message !== 'checking') {
      this.progress.resumed = true;
      this.#tell(state, { problem: error.problem ?? null });
    }
    const jitter = 0.7 + 0.6 * Math.random();
    const backoff = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** this.broke++) * jitter;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(backoff, error.afterMs ?? 0));
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = null;
  }

  /** A laptop that slept has dead connections: wall time went on while the page's own stood. */
  #watchTheClock() {
    const lead = () => Date.now() - performance.now();
    let before = lead();
    const timer = setInterval(() => {
      const now = lead();
      if (now - before > ASLEEP_MS) this.retryNow();
      before = now;
    }, TICK_MS);
    return () => clearInterval(timer);
  }

  #tell(state, more = {}) {
    const { total, acked } = this.progress;
    const bps = this.progress.bps ?? this.guess_bps;
    Object.assign(this.progress, { problem: null }, more, { state });
    this.progress.eta_s = state === 'sending' && bps ? ((total - acked) * 8) / bps : null;
    this.onchange(this.progress);
  }

  #end(state, more) {
    if (this.ended) return;
    this.ended = true;
    this.#tell(state, more);
    this.stop?.abort();
  }
}

/** @param {Response} response */
async function failureOf(response) {
  const problem = await response.json().catch(() => null);
  const { status } = response;
  if (status === 409) return new Passing('offset', { problem });
  if (status >= 500 || status === 408 || status === 429) {
    const after = Number(response.headers.get('Retry-After')) || 0;
    return new Passing('server', { afterMs: Math.min(60, after) * 1000, problem });
  }
  return new Final({ code: `http_${status}`, status, ...problem });
}
