/** One job on the page: followed through broken connections, sleep and restarts, and shown. */

import { audioUrl, fileName, keepJob } from './job.js';
import { say } from './job_words.js';
import { Refused, ask, el, isChinese, problemWords, tenth } from './kit.js';
import { Player } from './player.js';

export { unlock } from './player.js';

const FORMATS = ['wav', 'flac', 'mp3', 'opus'];
const PARTS = ['upload', 'queue', 'synth', 'encode', 'download'];
const ENDED = ['done', 'failed', 'cancelled'];
const TICK_MS = 500;
const SILENT_MS = 25000; // the events bring at least a comment each 15 s
const SOUND_LATE_MS = 10000;
const SAY_BROKEN_MS = 1000;
const JUST_ASKED_S = 30;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 8000;

async function* chunksOf(response) {
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/**
 * Does `work` until it succeeds or is refused, waiting longer after each failure.
 * @param {AbortSignal} signal
 * @param {(attempt: AbortController, well: () => void) => Promise<void>} work calls `well` when
 *   the connection carries
 * @param {() => void} [onbroken]
 */
async function persist(signal, work, onbroken = () => {}) {
  for (let broke = 0; ; broke++) {
    const attempt = new AbortController();
    const end = () => attempt.abort();
    for (const [target, name] of [[signal, 'abort'], [window, 'offline']]) {
      target.addEventListener(name, end, { once: true, signal: attempt.signal });
    }
    try {
      return await work(attempt, () => { broke = 0; });
    } catch (error) {
      if (signal.aborted || error instanceof Refused) throw error;
    } finally {
      end();
    }
    onbroken();
    const longest = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** broke);
    await pause(longest * (0.7 + 0.3 * Math.random()), signal);
    signal.throwIfAborted();
  }
}

/** Ends early when the network or the reader is back. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(end, ms);
    const until = { signal: over.signal };
    signal.addEventListener('abort', end, until);
    window.addEventListener('online', end, until);
    document.addEventListener('visibilitychange', () => document.hidden || end(), until);
  });
}

export class JobView {
  constructor() {
    this.player = new Player('en');
    this.title = el('p.cosy-title');
    this.line = el('p.cosy-line');
    this.said = el('p.cosy-unseen', { role: 'status' });
    this.net = el('p.cosy-warn', { role: 'status', hidden: true });
    this.again = el('p.cosy-small', { hidden: true });
    this.note = el('p.cosy-note', { hidden: true });
    this.problem = el('div.cosy-problem', { role: 'alert', hidden: true });
    this.links = el('p.cosy-links');
    this.linkLabel = el('span');
    this.link = el('input', { readOnly: true, onfocus: () => this.link.select() });
    this.copy = el('button', { type: 'button', onclick: () => this.#copy() });
    this.result = el(
      'div.cosy-result', { hidden: true }, this.links,
      el('label.cosy-link', {}, this.linkLabel, el('span.cosy-row', {}, this.link, this.copy)),
    );
    this.spent = el('div.cosy-spent', { hidden: true });
    this.cancel = el('button', { type: 'button', onclick: () => this.#cancel() });
    this.retry = el('button.cosy-primary', {
      type: 'button', onclick: () => this.options.onretry(this.job),
    });
    this.root = el(
      'section.cosy', { hidden: true },
      el('div.cosy-head', {}, el('div', {}, this.title, this.line), this.cancel), this.said,
      this.net, this.again, this.note, this.player.root, this.problem, this.result, this.spent,
      this.retry,
    );
    this.job = null;
    this.skew_ms = 0;
    this.stop = new AbortController();
  }

  /** @param {HTMLElement} element @param {object} options */
  place(element, options) {
    this.options = options;
    element.replaceChildren(this.root);
    this.setLang(this.options.lang);
  }

  setLang(lang) {
    this.options.lang = lang;
    this.player.setLang(lang);
    this.announced = null;
    this.#render();
  }

  /**
   * @param {string} id
   * @param {object} [how]
   * @param {boolean} [how.play] let it sound as soon as it can
   * @param {boolean} [how.restored] of an earlier page: silent when it had ended, or is unknown
   */
  follow(id, { play = true, restored = false } = {}) {
    this.reset();
    keepJob(id);
    this.id = id;
    this.job = { id, state: 'queued', title: '', position: null, attempts: 0, timings_s: {} };
    this.fresh = false; // nothing known yet but the id
    this.restored = restored;
    this.heard = this.heardSound = Date.now();
    this.brokeAt = 0;
    this.owedSince = 0;
    this.listening = this.doneAt = null;
    this.late = { s: 0, bytes: 0 };
    this.final = new Promise((resolve) => { this.settle = resolve; });
    if (play) this.player.sound.play();
    this.ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#watch(this.stop.signal);
    this.#render();
  }

  reset() {
    this.stop.abort();
    this.stop = new AbortController();
    clearInterval(this.ticking);
    keepJob(null);
    this.id = this.job = this.watching = this.hearing = this.announced = null;
    this.cancelling = this.cancelFailed = false;
    this.player.clear();
    this.#render();
  }

  // What happens on the server

  async #watch(signal) {
    const broke = () => { this.brokeAt ||= Date.now(); };
    const work = (attempt, well) => this.#events(attempt, well);
    try {
      await persist(signal, work, broke);
    } catch (error) {
      if (signal.aborted) return;
      if (this.restored && !this.fresh) this.reset();
      else this.#take({ ...this.job, state: 'failed', problem: error.problem });
    }
  }

  async #events(attempt, well) {
    this.watching = attempt;
    this.heard = Date.now();
    const url = `${this.options.base}jobs/${this.id}/events`;
    // Not EventSource: it neither tells a comment, so a dead line looks like a quiet one, nor
    // comes back from a 502.
    const response = await ask(url, { signal: attempt.signal });
    const server = Date.parse(response.headers.get('Date') ?? '');
    if (server) this.skew_ms = server + 500 - Date.now();
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of chunksOf(response)) {
      this.heard = Date.now();
      this.brokeAt = 0;
      well();
      const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) this.#take(JSON.parse(line.slice(5)));
      }
    }
    if (!ENDED.includes(this.job.state)) throw new Error('the events ended before the job');
  }

  #take(job) {
    const was = this.fresh ? this.job.state : null;
    this.job = job;
    this.fresh = true;
    this.since = Date.now();
    this.brokeAt = 0;
    const { sound } = this.player;
    const ended = ENDED.includes(job.state);
    if (ended && was === null && this.restored && sound.wanted) sound.pause();
    if (job.state === 'done') {
      // Of a job that somebody comes back to, the download is no part.
      if (was || this.#elapsed() < JUST_ASKED_S) this.doneAt ??= performance.now();
      this.player.expect(job.problem ? 0 : job.audio_s ?? 0);
    } else if (ended) {
      this.player.clear();
      if (job.state === 'cancelled') keepJob(null);
    }
    if (ended) {
      clearInterval(this.ticking);
      if (job.state === 'done') this.ticking = setInterval(() => this.#tick(), TICK_MS);
      this.settle();
    }
    const soon = job.state === 'queued' && job.position !== null && job.position <= 1;
    // The sound of an earlier visit is fetched when it is to be heard: a thin line is not loaded
    // with what nobody asked for.
    const earlier = job.state === 'done' && was === null && this.restored;
    if (earlier) this.player.rest(() => this.#listen(this.stop.signal));
    else if (soon || job.state === 'running' || job.state === 'done') this.#listen(this.stop.signal);
    this.#render();
    this.options.onstate?.(job);
    if (job.state !== was) window.dispatchEvent(new CustomEvent('cosyhost:job', { detail: job }));
  }

  // Its sound

  async #listen(signal) {
    if (this.listening) return;
    this.listening = true;
    this.askedAt = performance.now();
    try {
      await persist(signal, (attempt) => this.#hear(attempt));
    } catch (error) {
      if (signal.aborted) return;
      this.#take({ ...this.job, problem: error.problem });
    } finally {
      if (!signal.aborted) this.hearing = null;
    }
  }

  async #hear(attempt) {
    this.hearing = attempt;
    this.heardSound = Date.now();
    if (!ENDED.includes(this.job.state)) {
      try {
        await this.#stream(attempt.signal);
      } catch (error) {
        // The events tell why a job has no sound, and then it has ended.
        throw error instanceof Refused ? new Error(error.message) : error;
      }
      await this.final;
    }
    attempt.signal.throwIfAborted();
    if (this.job.state !== 'done') return;
    const { sound } = this.player;
    if (!sound.length || this.job.audio_s - sound.duration > 0.1) await this.#whole(attempt.signal);
    else sound.finish();
    this.#render();
  }

  /** Sound arrived; once the job is done, its reader waits for nothing else: the download. */
  #got({ length }) {
    this.heardSound = Date.now();
    if (!this.doneAt) return;
    this.late.bytes += length;
    this.late.s = (performance.now() - Math.max(this.doneAt, this.askedAt)) / 1000;
  }

  /** As it is made. A new stream begins at the beginning: what is here already is passed over. */
  async #stream(signal) {
    const { sound } = this.player;
    const response = await ask(audioUrl(this.options.base, this.id, 'pcm'), { signal });
    if (!sound.length) sound.rate = Number(response.headers.get('X-CosyHost-Sample-Rate')) || 24000;
    let skip = 2 * sound.length;
    let half = new Uint8Array(0); // of a sample cut between two chunks
    for await (const chunk of chunksOf(response)) {
      this.#got(chunk);
      const fresh = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - fresh.length;
      if (!fresh.length || signal.aborted) continue;
      const bytes = new Uint8Array(half.length + fresh.length);
      bytes.set(half);
      bytes.set(fresh, half.length);
      half = bytes.slice(bytes.length & ~1);
      const view = new DataView(bytes.buffer);
      const samples = new Float32Array(bytes.length >> 1);
      for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(2 * i, true) / 32768;
      this.player.push(samples);
    }
  }

  /** From the store: FLAC is half the bytes. */
  async #whole(signal) {
    const { sound } = this.player;
    const response = await ask(audioUrl(this.options.base, this.id, 'flac'), { signal });
    const parts = [];
    for await (const chunk of chunksOf(response)) {
      this.#got(chunk);
      parts.push(chunk);
    }
    const bytes = await new Blob(parts).arrayBuffer();
    const decoded = await new OfflineAudioContext(1, 1, sound.rate).decodeAudioData(bytes);
    if (!signal.aborted) sound.replace(decoded.getChannelData(0));
  }

  // What the reader does

  async #cancel() {
    const { id, stop } = this;
    this.cancelling = true;
    this.cancelFailed = false;
    this.player.sound.pause();
    this.#render();
    try {
      const response = await ask(`${this.options.base}jobs/${id}`, {
        method: 'DELETE', signal: stop.signal,
      });
      const job = await response.json();
      if (!stop.signal.aborted && !ENDED.includes(this.job.state)) this.#take(job);
    } catch {
      if (stop.signal.aborted) return;
      this.cancelling = false;
      this.cancelFailed = true;
      this.#render();
    }
  }

  async #copy() {
    this.link.select();
    try {
      await navigator.clipboard.writeText(this.link.value);
    } catch {
      document.execCommand('copy'); // plain http has no clipboard object
    }
    this.copy.textContent = say(this.options.lang, 'copied');
    setTimeout(() => this.#render(), 2000);
  }

  // What is shown

  #tick() {
    const now = Date.now();
    const { job, player, watching, hearing } = this;
    const ended = ENDED.includes(job.state);
    // Also what happens after a laptop's sleep: the lines are dead and nobody said so.
    if (!ended && now - this.heard > SILENT_MS) watching?.abort();
    const owed = (job.audio_s ?? job.spoken_s ?? 0) - player.sound.duration;
    // Late is counted from when there was something to send: a job may have waited long before.
    this.owedSince = owed > 0.5 ? this.owedSince || now : 0;
    const quiet_ms = now - Math.max(this.heardSound, this.owedSince);
    if (owed > 0.5 && quiet_ms > SOUND_LATE_MS) hearing?.abort();
    if (!ended) this.#render();
    else if (!hearing) clearInterval(this.ticking);
  }

  #elapsed() {
    const created = this.job.created_at * 1000;
    return Math.max(0, (Date.now() + this.skew_ms - created) / 1000 || 0).toFixed(0);
  }

  /** The main sentence. */
  #sentence() {
    const { job, player } = this;
    const tell = (key, figures) => say(this.options.lang, key, figures);
    if (job.state === 'queued') {
      const { position } = job;
      const key = position === null ? 'queued' : position <= 1 ? 'queued_next' : 'queued_at';
      const left = Math.round(job.eta_s - (Date.now() - this.since) / 1000);
      return tell(key, { position }) + (left > 0 ? tell('about', { seconds: left }) : '');
    }
    if (job.state === 'running') {
      const spoken = Math.max(job.spoken_s ?? 0, player.sound.duration);
      const figures = { spoken: tenth(spoken), elapsed: this.#elapsed() };
      return tell(spoken ? 'running' : 'begun', figures);
    }
    return tell(job.state, { audio: tenth(job.audio_s) });
  }

  #render() {
    const { job, options } = this;
    // Of an earlier page's job nothing is shown before it is known to exist.
    this.root.hidden = !job || (this.restored && !this.fresh && !this.brokeAt);
    if (!job) return;
    const tell = (key, figures) => say(options.lang, key, figures);
    const working = !ENDED.includes(job.state);
    this.root.dataset.state = job.state;
    this.root.lang = isChinese(options.lang) ? 'zh' : 'en';
    this.title.textContent = job.title;
    this.line.textContent = this.#sentence();
    // A screen reader hears of changes only, not of every second.
    const news = [job.state, job.position].join();
    if (this.fresh && news !== this.announced) {
      this.announced = news;
      this.said.textContent = this.line.textContent;
    }
    const broken = working && this.brokeAt && Date.now() - this.brokeAt > SAY_BROKEN_MS;
    const trouble = working && !navigator.onLine ? 'offline'
      : broken ? 'broken' : working && this.cancelFailed ? 'cancel_failed' : null;
    this.net.hidden = !trouble;
    const warning = trouble ? tell(trouble) : '';
    if (this.net.textContent !== warning) this.net.textContent = warning;
    this.again.hidden = !working || job.attempts < 2;
    this.again.textContent = tell('again', job);
    this.note.hidden = !job.preview;
    this.note.textContent = tell('preview');
    this.cancel.hidden = !working;
    this.cancel.disabled = this.cancelling;
    this.cancel.textContent = tell(this.cancelling ? 'cancelling' : 'cancel');
    this.retry.hidden = working || job.state === 'done' || !options.onretry;
    this.retry.textContent = tell('retry');
    this.#renderProblem(tell);
    this.result.hidden = job.state !== 'done' || Boolean(job.problem);
    if (!this.result.hidden) this.#renderResult(tell);
    this.#renderSpent(tell);
  }

  #renderProblem(tell) {
    const { problem } = this.job;
    this.problem.hidden = !problem;
    if (!problem) return;
    const [wrong, next] = problemWords(problem, this.options.lang);
    this.problem.replaceChildren(
      el('p', {}, wrong), el('p', {}, next), el('p.cosy-small', {}, tell('code', problem)),
    );
  }

  #renderResult(tell) {
    const { job, options } = this;
    const links = FORMATS.map((format) => el('a', {
      href: audioUrl(options.base, job.id, format), download: fileName(job, format),
      textContent: format === 'opus' ? 'Opus' : format.toUpperCase(),
      ariaLabel: `${tell('download')} ${format.toUpperCase()}`,
    }));
    this.links.replaceChildren(tell('download'), ...links);
    this.linkLabel.textContent = tell('link');
    this.link.value = new URL(`${options.base}jobs/${job.id}/audio`, location.href).href;
    this.copy.textContent = tell('copy');
  }

  /** Where the seconds went, as one bar and one sentence. */
  #renderSpent(tell) {
    const { job, late } = this;
    const spent = { ...job.timings_s, download: late.s };
    const parts = PARTS.map((name) => ({ name, s: spent[name] ?? 0 }));
    const total = parts.reduce((sum, { s }) => sum + s, 0);
    this.spent.hidden = job.state !== 'done' || total < 0.05;
    if (this.spent.hidden) return;
    const shown = parts.filter(({ s }) => s >= 0.05);
    const most = parts.reduce((a, b) => (b.s > a.s ? b : a));
    const mbps = ({ upload: job.upload_bytes, download: late.bytes }[most.name] * 8) / most.s / 1e6;
    const figures = { total: tenth(total), part: tenth(most.s), what: tell(`most_${most.name}`) };
    const rate = mbps ? tell('at', { mbps: mbps.toFixed(mbps < 1 ? 2 : 1) }) : '';
    const { ttfa } = spent;
    const first = ttfa === undefined ? '' : tell('first_sound', { ttfa: tenth(ttfa) });
    const bar = shown.map(({ name, s }) => {
      const part = el(`i.cosy-${name}`);
      part.style.flexGrow = 100 * s; // sums under 1 would not fill the bar
      return part;
    });
    const legend = shown.map(({ name, s }) => el(
      'li', {}, el(`i.cosy-${name}`), `${tell(name)} ${tell('seconds', { seconds: tenth(s) })}`,
    ));
    this.spent.replaceChildren(
      el('p', {}, tell('most', figures) + rate + first), el('div.cosy-bar', { ariaHidden: 'true' }, ...bar),
      el('ul.cosy-legend', { ariaLabel: tell('spent') }, ...legend),
    );
  }
}
