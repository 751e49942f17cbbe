/**
 * The prompt audio of the studio: choose, drop, paste or record it, cut it, hear it, and watch it
 * arrive. `mount(element, options)` shows it; the rest is loaded when it is first used.
 */

/** @type {Map<string, Slot>} what lives on while its element is taken away and put back */
const slots = new Map();

/**
 * @typedef {object} Slot
 * @property {import('./session.js').Session | null} session
 * @property {Widget | null} widget the one on the page now
 * @property {object} options of the latest mount
 * @property {string} told the state last given to `onchange`
 * @property {boolean} taking a file was chosen, and what reads it is still being loaded
 * @property {Promise<void>} restored once what was chosen before a reload is here again
 */

/**
 * @typedef {object} Options
 * @property {string} [lang] 'zh' or 'en'; else the page's, else the browser's
 * @property {string} [key] names this prompt where a page has several (ids change with a reload)
 * @property {number} [limitBytes] of a file sent as it is; also as data-limit-bytes
 * @property {string} [base] where uploads live, with a slash at its end
 * @property {string} [assets] where these files live, with a slash at its end
 * @property {(state: object) => void} [onchange] state, count (of recordings so far), sha256,
 *   seconds, bytes, sentBytes, handedBytes, uplink_bps, format; called when state, hash or format
 *   changed
 */

/**
 * @param {HTMLElement} element is filled; mounting again shows the same prompt again
 * @param {Options} [options]
 * @returns {{pin: () => void, clear: () => void, state: () => object | null,
 *   resend: () => Promise<void>, restored: Promise<void>}} `resend`: the service lost it
 */
export function mount(element, options = {}) {
  const key = options.key ?? 'prompt';
  const slot = slots.get(key) ?? { session: null, loading: null, widget: null, told: '', taking: false };
  const first = !slots.has(key);
  slots.set(key, slot);
  slot.widget?.close();
  slot.options = {
    base: '/v1/uploads/',
    assets: new URL('./', import.meta.url).href,
    limitBytes: Number(element.dataset.limitBytes) || 10e6,
    onchange: () => {},
    ...options,
  };
  slot.widget = null;
  const { options: latest } = slot;
  wordsOf(languageOf(options.lang)).then((words) => {
    if (slot.options === latest) slot.widget = new Widget(element, slot, key, words);
  });
  if (first) slot.restored = restore(slot, key).catch(() => {});
  return {
    pin: () => slot.session?.pin(),
    clear: () => slot.session?.clear(),
    state: () => (slot.taking ? { state: 'preparing', sha256: null } : slot.session?.summary() ?? null),
    resend: () => slot.session?.restore(),
    restored: slot.restored,
  };
}

/** @returns {'zh' | 'en'} as asked, else that of the page, else that of the browser */
function languageOf(asked) {
  const tag = asked || document.documentElement.lang || navigator.language || 'en';
  return tag.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

/** A visit loads one language only. */
async function wordsOf(language) {
  return (await (language === 'zh' ? import('./words.zh.js') : import('./words.en.js'))).default;
}

/** Everything else, on first use. */
function load(slot, key) {
  slot.loading ??= Promise.all([
    import('./session.js'), import('./sound.js'), import('./wave.js'),
  ]).then(([{ Session, OVER_S }, { MAX_S }, { Wave }]) => {
    const { base, assets, limitBytes } = slot.options;
    slot.parts = { Wave, MAX_S, OVER_S };
    slot.session = new Session(key, { base, vendor: `${assets}vendor/`, limitBytes });
    slot.session.listen = (session) => {
      const told = session.summary();
      const notable = [told.state, told.sha256, told.format].join();
      slot.widget?.render(session);
      if (notable === slot.told) return;
      slot.told = notable;
      slot.options.onchange(told);
    };
  }).catch((error) => {
    slot.loading = null;
    throw error;
  });
  return slot.loading;
}

async function restore(slot, key) {
  let kept = null;
  try {
    kept = localStorage.getItem(`cosyhost.prompt.${key}`);
  } catch {
    // A page without storage forgets; see memory.js.
  }
  if (!kept) return;
  await load(slot, key);
  await slot.session.restore();
}

const size = (bytes) => (bytes < 1000 ? `${bytes} B`
  : bytes < 999500 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const mbps = (bps) => (bps / 1e6).toFixed(bps < 1e6 ? 2 : 1);
const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, '0')}`;
const CABLE_BPS = 10e6;
const SLOW_BPS = 2e6;
const SLOW_S = 3;

const MARKUP = `
  <div class="cp-choose">
    <button type="button" class="cp-main" data-do="pick"></button>
    <button type="button" data-do="record"></button>
    <span class="cp-soft" data-say="drop_here"></span>
    <input type="file" hidden accept="audio/*,video/mp4,video/webm,.wav,.mp3,.m4a,.flac,.ogg,.opus,.webm">
  </div>
  <div class="cp-recording" hidden>
    <span class="cp-dot" aria-hidden="true"></span>
    <span class="cp-time">0:00.0</span>
    <meter class="cp-level" min="0" max="1" aria-hidden="true"></meter>
    <button type="button" class="cp-main" data-do="stop"></button>
    <button type="button" data-do="cancel"></button>
  </div>
  <div class="cp-sound" hidden>
    <div class="cp-row cp-title">
      <strong class="cp-name"></strong><span class="cp-size cp-soft"></span>
      <button type="button" class="cp-link" data-do="replace"></button>
      <button type="button" class="cp-link" data-do="remove"></button>
    </div>
    <div class="cp-cut" hidden>
      <div class="cp-wave"></div>
      <div class="cp-row">
        <button type="button" data-do="play"></button>
        <span class="cp-chosen cp-soft"></span>
      </div>
      <div class="cp-row">
        <fieldset class="cp-mode"><legend data-say="format"></legend>
          <label><input type="radio" value="auto"><span data-say="auto"></span></label>
          <label><input type="radio" value="lossless"><span data-say="lossless"></span></label>
          <label><input type="radio" value="small"><span data-say="small"></span></label>
        </fieldset>
        <span class="cp-format cp-soft"></span>
      </div>
    </div>
  </div>
  <div class="cp-upload" hidden>
    <div class="cp-bar" role="progressbar" aria-valuemin="0" aria-valuemax="100"><i></i></div>
    <div class="cp-figures"></div>
  </div>
  <div class="cp-status"><p role="status" aria-live="polite"></p>
    <button type="button" data-do="try_now" hidden></button></div>
  <p class="cp-note cp-soft" hidden></p>`;

class Widget {
  constructor(element, slot, key, words) {
    this.slot = slot;
    this.key = key;
    this.language = languageOf(slot.options.lang);
    this.say = (key, figures = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => figures[name]);
    this.root = document.createElement('section');
    this.root.className = 'cp';
    this.root.lang = this.language === 'zh' ? 'zh-CN' : 'en';
    this.root.setAttribute('aria-label', this.say('label'));
    this.root.innerHTML = MARKUP; // ours alone: what a person or a server says goes in as text
    for (const target of this.root.querySelectorAll('[data-say]')) {
      target.textContent = this.say(target.dataset.say);
    }
    for (const button of this.root.querySelectorAll('[data-do]')) {
      button.textContent = this.say(button.dataset.do);
    }
    this.find = (selector) => this.root.querySelector(selector);
    this.find('.cp-bar').setAttribute('aria-label', this.say('progress'));
    for (const radio of this.root.querySelectorAll('[type=radio]')) radio.name = `cp-mode-${key}`;
    this.gone = new AbortController();
    this.#listen();
    element.replaceChildren(this.root);
    this.remark = null; // a sentence for now, in place of the session's
    this.render(slot.session);
  }

  close() {
    this.gone.abort();
    this.recording?.cancel();
    this.wave?.stop();
    this.wave?.close();
  }

  #listen() {
    const { root } = this;
    const on = (target, type, act) => target.addEventListener(type, act, { signal: this.gone.signal });
    const input = this.find('input[type=file]');
    const acts = {
      pick: () => input.click(),
      replace: () => input.click(),
      record: () => this.#record(),
      stop: () => this.recording?.stop(),
      cancel: () => this.recording?.cancel(),
      remove: () => this.slot.session.clear(),
      play: () => this.#play(),
      try_now: () => this.slot.session.retryNow(),
    };
    on(root, 'click', (event) => acts[event.target.closest('[data-do]')?.dataset.do]?.());
    on(input, 'change', () => {
      this.#take(input.files);
      input.value = ''; // the same file may be chosen again
    });
    on(root, 'change', ({ target }) => {
      if (target.type === 'radio') this.slot.session.choose(target.value);
    });
    on(root, 'dragover', (event) => {
      event.preventDefault();
      root.classList.add('cp-over');
    });
    on(root, 'dragleave', (event) => {
      if (!root.contains(event.relatedTarget)) root.classList.remove('cp-over');
    });
    on(root, 'drop', (event) => {
      event.preventDefault();
      root.classList.remove('cp-over');
      this.#take(event.dataTransfer.files);
    });
    on(document, 'paste', (event) => {
      if (root.isConnected && event.clipboardData?.files.length) this.#take(event.clipboardData.files);
    });
    // A hand on its way here: fetch what it will need.
    for (const sign of ['pointerenter', 'focusin', 'dragenter']) {
      on(root, sign, () => load(this.slot, this.key).then(() => this.slot.session.warm(), () => {}));
    }
  }

  async #take(files) {
    const [file] = files;
    if (!file) return this.#remark('no_file');
    this.slot.taking = true;
    await this.#loaded();
    this.slot.taking = false;
    this.remark = null;
    this.wave?.stop();
    await this.slot.session?.take(file);
  }

  async #loaded() {
    try {
      await load(this.slot, this.key);
    } catch {
      this.#remark('broken');
    }
  }

  #remark(word) {
    this.remark = word;
    this.render(this.slot.session);
  }

  async #record() {
    await this.#loaded();
    if (!this.slot.session) return;
    if (!window.isSecureContext || !navigator.mediaDevices || !window.MediaRecorder) {
      this.#remark(window.isSecureContext ? 'old_microphone' : 'insecure_microphone');
      return;
    }
    const { MAX_S } = this.slot.parts;
    let heard = 0;
    try {
      const { record } = await import('./record.js');
      this.recording = await record((seconds, level) => {
        this.find('.cp-time').textContent = `${clock(seconds)} / ${clock(MAX_S)}`;
        this.find('.cp-level').value = level;
        heard = Math.max(heard, level);
        const remark = seconds > 3 && heard < 0.1 ? 'no_sound' : 'recording';
        if (remark !== this.remark) this.#remark(remark);
      });
    } catch (error) {
      const why = { NotAllowedError: 'mic_denied', NotFoundError: 'mic_none', TypeError: 'broken' };
      this.#remark(why[error.name] ?? 'mic_busy');
      return;
    }
    this.#remark('recording');
    this.find('[data-do=stop]').focus();
    const file = await this.recording.file;
    this.recording = null;
    this.#remark(null);
    if (file) await this.slot.session.take(file);
  }

  async #play() {
    const button = this.find('[data-do=play]');
    if (this.wave.playing) {
      this.wave.stop();
      return;
    }
    button.textContent = this.say('pause');
    await this.wave.play();
    button.textContent = this.say('play');
  }

  /** @param {import('./session.js').Session | null} session */
  render(session) {
    const state = session?.state ?? 'idle';
    this.root.dataset.state = state;
    const show = (selector, visible) => { this.find(selector).hidden = !visible; };
    const audio = session && state !== 'idle' && (session.file || session.encoded);
    show('.cp-recording', this.recording);
    show('.cp-choose', !audio && !this.recording);
    show('.cp-sound', audio && !this.recording);
    if (audio) this.#renderSound(session);
    this.#renderUpload(session, state);
    this.#put('.cp-status p', this.remark ? this.say(this.remark) : this.#sentence(session, state));
    const stuck = state === 'stalled' || state === 'retrying';
    show('[data-do=try_now]', stuck || (state === 'failed' && session.encoded && !isFinal(session)));
    const notes = session ? this.#notes(session) : [];
    this.#put('.cp-note', notes.join(this.language === 'zh' ? '' : ' '));
    show('.cp-note', notes.length);
  }

  #renderSound(session) {
    const { sound, from, to, encoded } = session;
    this.#put('.cp-name', session.name || this.say('recorded'));
    this.#put('.cp-size', size(session.originalBytes));
    this.find('.cp-cut').hidden = !sound;
    if (!sound) return;
    if (!this.wave) {
      const { Wave } = this.slot.parts;
      this.wave = new Wave(this.find('.cp-wave'), {
        say: this.say,
        ontrim: (a, b) => {
          this.wave.stop();
          this.slot.session.trim(a, b);
        },
      });
    }
    this.wave.show(sound, from, to);
    const seconds = (to - from).toFixed(1);
    this.#put('.cp-chosen', this.say('part', { from: clock(from), to: clock(to), seconds }));
    const small = this.find('[value=small]');
    small.disabled = !session.canBeSmall;
    small.parentElement.title = session.canBeSmall ? '' : this.say(this.#whyNotSmall());
    this.find(`[value=${session.mode}]`).checked = true;
    let format = '';
    if (encoded) {
      format = this.say(`format_${encoded.format}`, { size: size(encoded.bytes.length) });
      if (session.thin_bps && encoded.format === 'opus') {
        const gap = this.language === 'zh' ? '；' : '; ';
        format += gap + this.say('why_thin', { mbps: mbps(session.thin_bps) });
      }
    }
    this.#put('.cp-format', format);
  }

  #renderUpload(session, state) {
    const progress = session?.progress;
    const shown = progress && ['sending', 'stalled', 'retrying', 'checking'].includes(state);
    this.find('.cp-upload').hidden = !shown;
    if (!shown) return;
    const percent = percentOf(progress);
    const bar = this.find('.cp-bar');
    bar.firstElementChild.style.width = `${percent}%`;
    bar.setAttribute('aria-valuenow', String(percent));
    const figures = [
      this.say('figures', { percent, acked: size(progress.acked), total: size(progress.total) }),
    ];
    if (progress.bps) figures.push(this.say('speed', { mbps: mbps(progress.bps) }));
    if (progress.eta_s !== null) {
      figures.push(this.say('left', { seconds: Math.max(1, Math.ceil(progress.eta_s)) }));
    }
    this.#put('.cp-figures', figures.join(' · '));
    bar.setAttribute('aria-valuetext', figures.join(', '));
  }

  #sentence(session, state) {
    const { progress, encoded, failure } = session ?? {};
    const percent = progress ? percentOf(progress) : 0;
    if (state === 'failed') return failure.problem ? this.#problem(failure.problem) : this.#failure(failure);
    if (state === 'retrying' && progress.problem?.code) return this.#problem(progress.problem);
    if (state === 'retrying' && navigator.onLine === false) return this.say('offline', { percent });
    if (state === 'sending' && progress.resumed) return this.say('resumed', { percent: this.#kept(percent) });
    if (state === 'sending' && session.switched) return this.say('switched');
    if (state !== 'ready') return this.say(state, { percent });
    const figures = {
      seconds: encoded.seconds.toFixed(1),
      size: size(encoded.bytes.length),
      original: size(session.originalBytes),
    };
    if (progress.already) return this.say('ready_already', figures);
    const smaller = encoded.bytes.length < 0.95 * session.originalBytes;
    return this.say(smaller ? 'ready_smaller' : 'ready', figures);
  }

  /** The percent at which it went on: said once, so that a screen reader is left in peace. */
  #kept(percent) {
    if (this.said?.startsWith('sending')) return this.keptPercent;
    this.keptPercent = percent;
    return percent;
  }

  #failure({ code, figures }) {
    const rounded = Object.entries(figures).map(([name, value]) => [
      name, typeof value === 'number' && value % 1 ? Number(value.toFixed(1)) : value,
    ]);
    return this.say(code, Object.fromEntries(rounded));
  }

  /** The server's own words, in the language of the page. */
  #problem(problem) {
    const { detail, detail_zh, hint, hint_zh, status, code } = problem;
    const words = this.language === 'zh' ? [detail_zh ?? detail, hint_zh ?? hint] : [detail, hint];
    const said = words.filter(Boolean).join(this.language === 'zh' ? '' : ' ');
    if (said) return said;
    if (code === 'http_403') return this.say('http_401');
    return ['http_401', 'http_413'].includes(code) ? this.say(code) : this.say('http_error', { status });
  }

  #notes(session) {
    const { sound, verdict, progress, state, encoded } = session;
    const notes = [];
    if (sound) {
      const { MAX_S, OVER_S } = this.slot.parts;
      const total = clock(sound.total).replace(/\.\d$/, '');
      if (sound.total > sound.seconds + 1) {
        notes.push(this.say('long_opened', { total, opened: clock(sound.seconds).replace(/\.\d$/, '') }));
      }
      if (sound.seconds > MAX_S + OVER_S) notes.push(this.say('long_used', { total }));
      if (sound.cut) notes.push(this.say('cut'));
      if (verdict?.hint && !verdict.refused) notes.push(this.say(verdict.hint));
      if (session.canBeSmall === false) notes.push(this.say(this.#whyNotSmall()));
    }
    const bps = progress?.bps;
    const bits = 8 * (encoded?.bytes.length ?? 0);
    if (state === 'sending' && bps && bps < SLOW_BPS && bits / bps > SLOW_S) {
      const seconds = Math.max(0.1, bits / CABLE_BPS).toFixed(1);
      notes.push(this.say('slow', { mbps: mbps(bps), seconds }));
    }
    return notes;
  }

  #whyNotSmall() {
    return window.isSecureContext ? 'old_small' : 'insecure_small';
  }

  #put(selector, text) {
    const target = this.find(selector);
    if (target.textContent !== text) target.textContent = text;
  }
}

function percentOf({ acked, total }) {
  return Math.floor((100 * acked) / total);
}

/** Sending the same bytes again would be refused again. */
function isFinal({ failure }) {
  return /^prompt_/.test(failure?.problem?.code ?? failure?.code ?? '');
}
