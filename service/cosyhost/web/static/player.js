/** Sound from its first chunk on: PCM as it arrives is played without gaps, drawn, and sought in. */

import { say } from './job_words.js';
import { el, icon } from './kit.js';

const FIRST_LEAD_S = 0.1;
const MAX_LEAD_S = 4;
const START_S = 0.03; // from scheduling to sounding
const LATE_S = 0.01;
const BLOCKED_MS = 400;
const LIVE_SPAN_S = 8;

let context = null;

// The context runs at the voice's own rate: resampling each piece by itself clicks at every seam.
function contextAt(rate) {
  if (context?.sampleRate !== rate) {
    context?.close();
    context = new AudioContext({ sampleRate: rate });
  }
  return context;
}

/** Call it in a click: some browsers let sound begin only in one. */
export function unlock() {
  if (window.AudioContext) contextAt(context?.sampleRate ?? 24000).resume().catch(() => {});
}

/**
 * Plays a growing row of samples. Pieces are scheduled one behind the other (an AudioWorklet would
 * do, but exists on https only).
 */
export class Sound {
  /** @param {() => void} onchange */
  constructor(onchange) {
    this.onchange = onchange;
    this.lead_s = FIRST_LEAD_S; // grows with each gap, so that the next is less likely
    this.volume = 1;
    this.sources = new Set();
    this.gaps = 1; // of the sound played last
    this.clear();
  }

  /** Forgets the sound; what the network was like is kept. */
  clear() {
    this.wanted = false;
    this.#silence();
    if (this.gaps === 0) this.lead_s = Math.max(FIRST_LEAD_S, this.lead_s / 2);
    this.gaps = 0;
    this.samples = new Float32Array(0);
    this.length = 0;
    this.rate = 24000;
    this.finished = false;
    this.blocked = false;
    this.at = 0; // the sample to go on from, while nothing sounds
    this.#rest();
  }

  get duration() {
    return this.length / this.rate;
  }

  /** Seconds into the sound. */
  get position() {
    return this.#here() / this.rate;
  }

  /** It should sound, but what comes next has not arrived. */
  get waiting() {
    return this.wanted && !this.anchor && !this.finished;
  }

  /** @param {Float32Array} samples that follow those given before */
  push(samples) {
    if (this.length + samples.length > this.samples.length) {
      const room = new Float32Array(2 * (this.length + samples.length));
      room.set(this.samples.subarray(0, this.length));
      this.samples = room;
    }
    this.samples.set(samples, this.length);
    this.length += samples.length;
    this.#feed();
  }

  /** No more will come. */
  finish() {
    this.finished = true;
    this.#feed();
    this.onchange();
  }

  /** @param {Float32Array} samples the whole sound, in place of what had come of it */
  replace(samples) {
    this.samples = samples;
    this.length = samples.length;
    this.finish();
  }

  play() {
    if (this.finished && this.#here() >= this.length) this.at = 0;
    this.wanted = true;
    if (this.length) this.#feed();
    this.onchange();
  }

  pause() {
    this.at = this.#here();
    this.wanted = false;
    this.#silence();
    this.#rest();
    this.onchange();
  }

  /** @param {number} seconds */
  seek(seconds) {
    this.at = Math.max(0, Math.min(this.length, Math.round(seconds * this.rate)));
    this.#silence();
    this.#feed();
    this.onchange();
  }

  /** @param {number} volume 0 to 1 */
  setVolume(volume) {
    this.volume = volume;
    this.gain?.gain.setTargetAtTime(volume, this.gain.context.currentTime, 0.01);
  }

  /** The sample that sounds now. */
  #here() {
    if (!this.anchor) return this.at;
    const { time, from } = this.anchor;
    const heard = Math.round((context.currentTime - time) * this.rate);
    return Math.min(this.next, from + Math.max(0, heard));
  }

  #feed() {
    if (!this.wanted) return;
    const audio = contextAt(this.rate);
    if (this.gain?.context !== audio) {
      this.gain = audio.createGain();
      this.gain.gain.value = this.volume;
      this.gain.connect(audio.destination);
      audio.onstatechange = () => this.#look();
    }
    if (audio.state !== 'running') {
      audio.resume().catch(() => {});
      setTimeout(() => this.#look(), BLOCKED_MS);
    }
    // What would be scheduled in the last moment begins late, and over the piece behind it.
    const late = this.#here() + LATE_S * this.rate >= this.next;
    if (this.anchor && late && this.next < this.length) this.#gap();
    if (!this.anchor) {
      const ahead = this.length - this.at;
      if (!ahead && this.finished) this.#over();
      if (!ahead || (ahead < this.lead_s * this.rate && !this.finished)) return;
      const frame = Math.ceil((audio.currentTime + START_S) * this.rate);
      this.anchor = { time: frame / this.rate, frame, from: this.at };
      this.next = this.at;
    }
    if (this.next === this.length) return;
    const buffer = audio.createBuffer(1, this.length - this.next, this.rate);
    buffer.copyToChannel(this.samples.subarray(this.next, this.length), 0);
    const source = audio.createBufferSource();
    source.buffer = buffer;
    source.connect(this.gain);
    source.start((this.anchor.frame + this.next - this.anchor.from) / this.rate);
    source.onended = () => this.#ended(source);
    this.sources.add(source);
    this.next = this.length;
  }

  #ended(source) {
    if (!this.sources.delete(source) || this.sources.size) return;
    if (this.finished && this.next === this.length) {
      this.#over();
    } else if (!this.finished) {
      this.#gap();
    }
    this.onchange();
  }

  #over() {
    this.at = this.length;
    this.anchor = null;
    this.wanted = false;
    this.#rest();
  }

  #gap() {
    this.at = this.#here();
    this.#silence();
    this.gaps += 1;
    this.lead_s = Math.min(MAX_LEAD_S, 2 * this.lead_s);
  }

  #silence() {
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.anchor = null;
  }

  /** A context that runs keeps the sound card and a thread busy. */
  #rest() {
    if (this.gain?.context === context) context.suspend().catch(() => {});
  }

  #look() {
    const blocked = this.wanted && this.length > 0 && context.state !== 'running';
    if (blocked === this.blocked) return;
    this.blocked = blocked;
    this.onchange();
  }
}

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
};

/** The controls of one Sound, with its waveform. */
export class Player {
  /** @param {string} lang */
  constructor(lang) {
    this.lang = lang;
    this.sound = new Sound(() => this.#changed());
    this.loudness = 1;
    this.expected_s = 0;
    this.peaks = [];
    this.onwanted = null;
    this.ready = el('button.cosy-primary', { type: 'button', onclick: unlock, hidden: true });
    this.toggle = el('button.cosy-round', { type: 'button', onclick: () => this.#toggle() });
    this.seek = el('input', { type: 'range', min: 0, step: 'any', value: 0 });
    this.seek.oninput = () => this.sound.seek(Number(this.seek.value));
    this.seek.onkeydown = (event) => this.#key(event);
    this.canvas = el('canvas', { ariaHidden: 'true' });
    this.time = el('span.cosy-time');
    this.mute = el('button.cosy-round', { type: 'button', onclick: () => this.#mute() });
    this.volume = el('input.cosy-volume', {
      type: 'range', min: 0, max: 1, step: 0.05, value: 1,
      oninput: () => this.#setVolume(Number(this.volume.value)),
    });
    this.wait = el('p.cosy-small', { hidden: true });
    const wave = el('div.cosy-wave', {}, this.seek, this.canvas);
    this.root = el(
      'div.cosy-player', { hidden: true }, this.ready,
      el('div.cosy-controls', {}, this.toggle, wave, this.time, this.mute, this.volume),
      this.wait,
    );
    this.resized = new ResizeObserver(() => this.#draw());
    this.resized.observe(wave);
    this.setLang(lang);
  }

  /** @param {string} lang */
  setLang(lang) {
    this.lang = lang;
    this.ready.replaceChildren(icon('play'), say(lang, 'ready'));
    this.seek.ariaLabel = say(lang, 'position');
    this.volume.ariaLabel = say(lang, 'volume');
    this.wait.textContent = say(lang, 'buffering');
    this.#changed();
  }

  clear() {
    this.sound.clear();
    this.expected_s = 0;
    this.peaks = [];
    this.onwanted = null;
    this.#changed();
  }

  /** @param {() => void} onwanted fetches the sound; called when somebody wants to hear it */
  rest(onwanted) {
    this.onwanted = onwanted;
    this.#changed();
  }

  /** @param {number} seconds of sound that will come: room is made for it */
  expect(seconds) {
    this.expected_s = seconds;
    this.#changed();
  }

  /** @param {Float32Array} samples that follow those given before */
  push(samples) {
    this.sound.push(samples);
    this.#changed();
  }

  /** Gives the sound and its canvas back. */
  unmount() {
    this.sound.clear();
    this.resized.disconnect();
  }

  #toggle() {
    if (this.sound.wanted && !this.sound.blocked) this.sound.pause();
    else this.sound.play();
  }

  #key(event) {
    const { position, duration } = this.sound;
    const to = {
      ArrowLeft: position - 1, ArrowDown: position - 1,
      ArrowRight: position + 1, ArrowUp: position + 1,
      PageDown: position - 5, PageUp: position + 5,
      Home: 0, End: duration,
    }[event.key];
    if (to !== undefined) this.sound.seek(to);
    else if (event.key === ' ') this.#toggle();
    else return;
    event.preventDefault();
  }

  #mute() {
    if (this.sound.volume) this.loudness = this.sound.volume;
    this.#setVolume(this.sound.volume ? 0 : this.loudness);
  }

  #setVolume(volume) {
    this.sound.setVolume(volume);
    this.volume.value = volume;
    this.#changed();
  }

  #changed() {
    const { sound, lang } = this;
    if (sound.wanted && this.onwanted) {
      const fetch = this.onwanted;
      this.onwanted = null;
      fetch();
    }
    this.root.hidden = !sound.length && !this.expected_s;
    this.ready.hidden = !sound.blocked;
    const playing = sound.wanted && !sound.blocked;
    this.#button(this.toggle, playing ? 'pause' : 'play', playing ? 'pause' : 'play');
    this.#button(this.mute, sound.volume ? 'loud' : 'mute', sound.volume ? 'mute' : 'unmute');
    const coming = sound.length === 0 && this.expected_s > 0 && !this.onwanted;
    this.wait.hidden = !sound.waiting && !coming;
    this.#move();
    const tick = () => {
      this.frame = 0;
      this.#move();
      if (sound.wanted) this.frame = requestAnimationFrame(tick);
    };
    if (sound.wanted) this.frame ||= requestAnimationFrame(tick);
  }

  #button(button, name, word) {
    if (button.dataset.icon !== name) button.replaceChildren(icon(name));
    button.dataset.icon = name;
    button.ariaLabel = button.title = say(this.lang, word);
  }

  #move() {
    const { position } = this.sound;
    const duration = this.sound.duration || this.expected_s;
    this.seek.max = this.#span();
    this.seek.value = position;
    const figures = { at: position.toFixed(0), of: duration.toFixed(0) };
    const spoken = say(this.lang, 'position_at', figures);
    // A screen reader reads out each change.
    if (this.seek.ariaValueText !== spoken) this.seek.ariaValueText = spoken;
    this.time.textContent = `${clock(position)} / ${clock(duration)}`;
    this.#draw();
  }

  /** The seconds that the waveform is wide: while its end is unknown, with room to grow. */
  #span() {
    const { duration, finished } = this.sound;
    if (finished) return duration;
    let span = LIVE_SPAN_S;
    while (span < duration) span *= 1.5;
    return span;
  }

  #draw() {
    const { sound, canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const paint = canvas.getContext('2d');
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, width, height);
    paint.fillStyle = getComputedStyle(canvas).color;
    const step = 3;
    const perBar = (this.#span() * sound.rate * step) / width;
    if (perBar !== this.perBar || sound.length < this.drawn) this.peaks = [];
    this.perBar = perBar;
    this.drawn = sound.length;
    const here = sound.position * sound.rate;
    for (let bar = 0; bar * step < width; bar++) {
      const from = Math.round(bar * perBar);
      const to = Math.round((bar + 1) * perBar);
      const whole = to <= sound.length;
      const peak = this.peaks[bar] ?? peakOf(sound.samples, from, Math.min(to, sound.length));
      if (whole) this.peaks[bar] = peak;
      paint.globalAlpha = from < here ? 1 : 0.4;
      if (from >= sound.length) paint.globalAlpha = 0.15;
      const tall = Math.max(2, peak * height);
      paint.fillRect(bar * step, (height - tall) / 2, step - 1, tall);
    }
  }
}

/** The loudest of a stretch; a speaking voice seldom leaves the middle, so it is drawn larger. */
function peakOf(samples, from, to) {
  let peak = 0;
  for (let i = from; i < to; i++) peak = Math.max(peak, Math.abs(samples[i]));
  return Math.min(1, Math.sqrt(peak));
}
