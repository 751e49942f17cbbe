/** The waveform: what was chosen, two handles to cut it, and the sound of the part between. */

import { MAX_S, MIN_S, RATE, partOf, peaksOf } from './sound.js';

const VIEW_S = 60; // a longer recording is moved through
const STEP_S = 0.1;
const JUMP_S = 1;

const round = (seconds) => Math.round(seconds * 100) / 100;

/** Keeps `moved` where the person put it and lets the other end follow within 3 to 30 s. */
export function within(from, to, moved, seconds) {
  const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
  if (moved === 'from') {
    from = clamp(from, 0, seconds - MIN_S);
    to = clamp(to, from + MIN_S, Math.min(seconds, from + MAX_S));
  } else {
    to = clamp(to, MIN_S, seconds);
    from = clamp(from, Math.max(0, to - MAX_S), to - MIN_S);
  }
  return [from, to];
}

export class Wave {
  /**
   * @param {HTMLElement} root the .cp-wave element
   * @param {object} options
   * @param {(key: string, figures?: object) => string} options.say
   * @param {(from: number, to: number) => void} options.ontrim
   */
  constructor(root, { say, ontrim }) {
    this.root = root;
    this.say = say;
    this.ontrim = ontrim;
    this.sound = null;
    this.start = 0; // of the view, in seconds
    root.innerHTML = `
      <div class="cp-track">
        <canvas aria-hidden="true"></canvas>
        <div class="cp-part"></div><div class="cp-head" hidden></div>
        <div class="cp-handle" role="slider" tabindex="0" data-end="from"></div>
        <div class="cp-handle" role="slider" tabindex="0" data-end="to"></div>
      </div>
      <input class="cp-view" type="range" min="0" step="0.5" hidden>`;
    const find = (selector) => root.querySelector(selector);
    this.track = find('.cp-track');
    this.canvas = find('canvas');
    this.part = find('.cp-part');
    this.head = find('.cp-head');
    this.view = find('.cp-view');
    this.handles = { from: find('[data-end=from]'), to: find('[data-end=to]') };
    for (const [end, handle] of Object.entries(this.handles)) {
      handle.setAttribute('aria-label', say(end));
      handle.addEventListener('keydown', (event) => this.#key(event, end));
      this.#drag(handle, end);
    }
    this.#drag(this.part, 'both');
    this.canvas.addEventListener('pointerdown', (event) => {
      const at = this.start + (event.offsetX / this.track.clientWidth) * this.#span;
      this.#shift(at - (this.from + this.to) / 2);
    });
    this.view.setAttribute('aria-label', say('view'));
    this.view.addEventListener('input', () => {
      this.start = Number(this.view.value);
      this.#draw();
    });
    this.resized = new ResizeObserver(() => this.#draw());
    this.resized.observe(this.track);
    this.dark = matchMedia('(prefers-color-scheme: dark)');
    this.redraw = () => this.#draw();
    this.dark.addEventListener('change', this.redraw);
  }

  close() {
    this.resized.disconnect();
    this.dark.removeEventListener('change', this.redraw);
  }

  /** @param {import('./sound.js').Sound} sound */
  show(sound, from, to) {
    if (sound !== this.sound) this.start = 0;
    Object.assign(this, { sound, from, to });
    this.#draw();
  }

  get #span() {
    return Math.min(VIEW_S, this.sound.seconds);
  }

  #move(from, to, moved) {
    [from, to] = within(round(from), round(to), moved, this.sound.seconds);
    // Follow the end that moves out of the view.
    const at = moved === 'from' ? from : to;
    if (at < this.start) this.start = at;
    if (at > this.start + this.#span) this.start = at - this.#span;
    this.ontrim(from, to);
  }

  /** Moves the part as a whole. */
  #shift(by) {
    const { from, to, sound } = this;
    const shift = Math.max(-from, Math.min(sound.seconds - to, by));
    this.#move(from + shift, to + shift, shift < 0 ? 'from' : 'to');
  }

  #key(event, end) {
    const { from, to, sound } = this;
    const step = event.shiftKey ? JUMP_S : STEP_S;
    const by = {
      ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step,
      PageDown: -JUMP_S, PageUp: JUMP_S, Home: -sound.seconds, End: sound.seconds,
    }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (end === 'from') this.#move(from + by, to, 'from');
    else this.#move(from, to + by, 'to');
  }

  #drag(element, end) {
    element.addEventListener('pointerdown', (down) => {
      if (down.button) return;
      down.preventDefault();
      element.focus?.({ preventScroll: true });
      element.setPointerCapture(down.pointerId);
      const { from, to, start } = this;
      const scale = this.#span / this.track.clientWidth;
      const move = (event) => {
        const by = (event.clientX - down.clientX) * scale + this.start - start;
        if (end === 'from') this.#move(from + by, to, 'from');
        else if (end === 'to') this.#move(from, to + by, 'to');
        else this.#shift(from + by - this.from);
      };
      element.addEventListener('pointermove', move);
      const end_drag = () => element.removeEventListener('pointermove', move);
      element.addEventListener('pointerup', end_drag, { once: true });
      element.addEventListener('pointercancel', end_drag, { once: true });
    });
  }

  #draw() {
    const { canvas, sound, from, to, track } = this;
    const width = track.clientWidth, height = track.clientHeight;
    if (!sound || !width) return;
    const span = this.#span;
    this.start = Math.max(0, Math.min(sound.seconds - span, this.start));
    const percent = (seconds) => `${((seconds - this.start) / span) * 100}%`;
    this.part.style.left = percent(from);
    this.part.style.width = `${((to - from) / span) * 100}%`;
    for (const [end, handle] of Object.entries(this.handles)) {
      const at = end === 'from' ? from : to;
      handle.style.left = percent(at);
      // Out of the view it stays in the tab order; a key brings the view to it.
      const seen = at > this.start - 0.01 && at < this.start + span + 0.01;
      handle.classList.toggle('cp-away', !seen);
      handle.setAttribute('aria-valuemin', '0');
      handle.setAttribute('aria-valuemax', sound.seconds.toFixed(1));
      handle.setAttribute('aria-valuenow', at.toFixed(1));
      handle.setAttribute('aria-valuetext', this.say('seconds', { seconds: at.toFixed(1) }));
    }
    this.view.hidden = sound.seconds <= span;
    this.view.max = String(sound.seconds - span);
    this.view.value = String(this.start);

    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const columns = Math.floor(width / 4);
    const same = this.drawn?.sound === sound && this.drawn.start === this.start
      && this.drawn.peaks.length === columns;
    if (!same) {
      const peaks = peaksOf(partOf(sound, this.start, this.start + span), columns);
      this.drawn = { sound, start: this.start, peaks };
    }
    const { peaks } = this.drawn;
    const loudest = Math.max(0.05, ...peaks);
    const style = getComputedStyle(this.root);
    const brush = canvas.getContext('2d');
    brush.scale(ratio, ratio);
    peaks.forEach((peak, column) => {
      const at = this.start + ((column + 0.5) / columns) * span;
      brush.fillStyle = style.getPropertyValue(at >= from && at <= to ? '--cp-accent' : '--cp-line-strong');
      const tall = Math.max(2, (peak / loudest) * (height - 12));
      brush.fillRect((column * width) / columns, (height - tall) / 2, 2, tall);
    });
  }

  /** Plays the part; resolves at its end or at stop(). */
  async play() {
    const { from, to, sound } = this;
    this.context ??= new AudioContext();
    await this.context.resume();
    const pcm = partOf(sound, from, to);
    const buffer = this.context.createBuffer(1, pcm.length, RATE);
    buffer.copyToChannel(pcm, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.source = source;
    const began = this.context.currentTime;
    const ended = new Promise((resolve) => { source.onended = resolve; });
    const follow = () => {
      if (this.source !== source) return;
      const at = from + this.context.currentTime - began;
      this.head.style.left = `${((at - this.start) / this.#span) * 100}%`;
      requestAnimationFrame(follow);
    };
    this.head.hidden = false;
    source.start();
    follow();
    await ended;
    if (this.source === source) this.source = null;
    this.head.hidden = !this.source;
  }

  stop() {
    this.source?.stop();
  }

  get playing() {
    return !!this.source;
  }
}
