/** What a person wants spoken: mode, text, voice or recording, instruction, speed. */

import { say } from './form_words.js';
import { ask, asJson, el, isChinese, keep, problemWords, recall } from './kit.js';
import * as prompt from './prompt.js';
import { voices } from './voices.js';

const LOOK_MS = 50;
const WAITED_S = 0.05; // less than this is no waiting

const MARKUP = `
  <form class="cf" novalidate>
    <fieldset class="cf-card" id="mode"><legend data-word="mode"></legend><div class="cf-modes"></div></fieldset>
    <div class="cf-card" id="text">
      <div class="cf-label"><label for="cf-text" data-word="text"></label><span class="cf-count cf-soft"></span></div>
      <textarea id="cf-text" rows="4" aria-describedby="cf-text-hint"></textarea>
      <p class="cf-soft" id="cf-text-hint" data-word="text_hint"></p>
      <div class="cf-examples" id="examples" role="group" data-name="examples"></div>
    </div>
    <fieldset class="cf-card" id="how"><legend data-word="how"></legend>
      <div id="preset"><label for="cf-preset" data-word="preset"></label><select id="cf-preset"></select></div>
      <div id="instruction"><label for="cf-instruction" data-word="instruction"></label>
        <input id="cf-instruction" maxlength="200"></div>
    </fieldset>
    <fieldset class="cf-card"><legend data-word="voice"></legend>
      <div id="voice"><select id="cf-voice" data-name="voice"></select></div>
      <p class="cf-soft cf-says" hidden></p>
      <div class="cf-recording" id="cosy-prompt"></div>
      <div id="consent" hidden>
        <label class="cf-tick"><input type="checkbox" required aria-describedby="cf-consent-missing"><span data-word="consent"></span></label>
        <p id="cf-consent-missing" role="alert" hidden></p>
      </div>
      <div class="cf-recording">
        <div id="prompt-text"><label for="cf-prompt-text" data-word="prompt_text"></label>
          <textarea id="cf-prompt-text" rows="2" aria-describedby="cf-prompt-hint"></textarea>
          <p class="cf-soft" id="cf-prompt-hint" data-word="prompt_text_hint"></p></div>
        <details class="cf-keep" id="keep"><summary data-word="keep"></summary>
          <label for="cf-name" data-word="name"></label>
          <div id="save-name"><input id="cf-name" maxlength="64" autocomplete="off"></div>
          <button type="button" id="save" data-word="save"></button>
          <p role="status" class="cf-told"></p>
        </details>
      </div>
    </fieldset>
    <div class="cf-card cf-line" id="speed"><label for="cf-speed" data-word="speed"></label>
      <input id="cf-speed" type="range" step="0.05"><output for="cf-speed"></output></div>
    <div class="cf-send">
      <p id="status" role="alert" hidden></p>
      <p class="cf-soft" id="waiting" role="status"></p>
      <button type="submit" id="generate" class="cf-main"></button>
    </div>
  </form>`;

/**
 * @typedef {object} Options
 * @property {string} lang
 * @property {string} assets where these files live, with a slash at its end
 * @property {number} limitBytes of a file sent as it is
 * @property {number} textChars
 * @property {[number, number]} speeds slowest and fastest
 * @property {string[]} modes
 * @property {Record<string, string[]>} examples by mode
 * @property {Record<string, {en: string, zh: string, say: string}[]>} presets by group
 * @property {Record<string, object>} problems what is refused here already, by code
 * @property {boolean} asksConsent whether cloning needs the tick
 * @property {(id: string) => void} onjob
 * @property {() => void} onpress called in the press of the button, when sound may be unlocked
 */

/** Whether Generate waits for an upload: this tab goes on with it after a reload. */
function pending(now) {
  try {
    if (now) sessionStorage.setItem('cosyhost.pending', '1');
    else if (now === false) sessionStorage.removeItem('cosyhost.pending');
    return sessionStorage.getItem('cosyhost.pending');
  } catch {
    return null; // a private window may refuse
  }
}

/**
 * @param {HTMLElement} element is filled
 * @param {Options} options
 */
export const mount = (element, options) => new Form(element, options);

class Form {
  constructor(element, options) {
    this.options = options;
    this.lang = options.lang;
    element.innerHTML = MARKUP; // ours alone: what a person or a server says goes in as text
    this.root = element.firstElementChild;
    this.find = (selector) => this.root.querySelector(selector);
    this.text = this.find('#cf-text');
    this.consent = this.find('#consent input');
    this.voice = this.find('#cf-voice');
    this.promptText = this.find('#cf-prompt-text');
    this.instruction = this.find('#cf-instruction');
    this.preset = this.find('#cf-preset');
    this.speed = this.find('#cf-speed');
    [this.speed.min, this.speed.max] = options.speeds;
    this.waiting = null; // an AbortController while the upload is waited for
    this.trouble = null; // the problem shown
    this.wanted = voices.default; // the voice to be chosen once it is known to exist
    this.#modes();
    this.#remember();
    this.#listen();
    this.setLang(options.lang);
    // A tick without its recording, whose day is over, is for nothing.
    this.prompt.restored.then(() => { if (!this.recordings && this.agreed === '') this.#agree(false); });
    voices.addEventListener('change', () => this.#voices());
    if (pending()) this.generate(); // reloaded while the upload was waited for
  }

  /** @param {string} lang */
  setLang(lang) {
    this.lang = lang;
    const { root, options } = this;
    root.lang = isChinese(lang) ? 'zh-CN' : 'en';
    for (const node of root.querySelectorAll('[data-word]')) node.textContent = this.say(node.dataset.word);
    for (const node of root.querySelectorAll('[data-name]')) node.ariaLabel = this.say(node.dataset.name);
    this.prompt = prompt.mount(this.find('#cosy-prompt'), {
      lang, assets: options.assets, limitBytes: options.limitBytes, onchange: (state) => this.#heard(state),
    });
    this.#presets();
    this.#voices();
    this.#count();
    this.#show(this.trouble);
    this.#button();
  }

  say(key, figures) {
    return say(this.lang, key, figures);
  }

  get mode() {
    return this.find('[name=mode]:checked').value;
  }

  /** @param {string} name of a stored voice, or '' */
  use(name) {
    this.wanted = name;
    this.#voices();
    this.voice.focus();
    this.voice.scrollIntoView({ block: 'center', behavior: 'smooth' });
  }

  #modes() {
    const { modes } = this.options;
    const chosen = modes.includes(recall('form.mode')) ? recall('form.mode') : modes[0];
    this.find('.cf-modes').append(...modes.map((name) => {
      const title = el('b');
      const hint = el('small');
      title.dataset.word = name;
      hint.dataset.word = `${name}_hint`;
      const radio = el('input', { type: 'radio', name: 'mode', value: name, checked: name === chosen });
      return el('label', {}, radio, el('span', {}, title, hint));
    }));
    this.#mode();
  }

  #mode() {
    const { mode } = this;
    this.find('#how').hidden = mode !== 'instruct';
    this.find('#prompt-text').hidden = mode !== 'zero_shot';
    this.find('#examples').replaceChildren(...this.options.examples[mode].map((text) => (
      el('button', { type: 'button', title: text, onclick: () => this.#write(this.text, text) }, text))));
  }

  #presets() {
    const { value } = this.preset;
    const zh = isChinese(this.lang);
    const groups = Object.entries(this.options.presets).map(([group, presets]) => el(
      'optgroup', { label: this.say(group) },
      ...presets.map(({ en, zh: name, say: value }) => el('option', { value }, zh ? name : en)),
    ));
    this.preset.replaceChildren(el('option', { value: '' }, this.say('preset_none')), ...groups);
    this.preset.value = value;
  }

  #voices() {
    const { all } = voices;
    const names = (all ?? []).map(({ name }) => name);
    const wanted = this.wanted ?? this.voice.value;
    const options = names.map((name) => el('option', { value: name }, name));
    this.voice.replaceChildren(el('option', { value: '' }, this.say('voice_new')), ...options);
    this.voice.value = names.includes(wanted) ? wanted : '';
    if (all) this.wanted = null;
    this.#voice();
  }

  #voice() {
    const voice = voices.all?.find(({ name }) => name === this.voice.value);
    for (const part of this.root.querySelectorAll('.cf-recording')) part.hidden = Boolean(voice);
    this.find('#consent').hidden = !this.options.asksConsent || Boolean(voice?.consent);
    this.consent.checked = this.agreed === this.voice.value;
    const says = this.find('.cf-says');
    says.hidden = !voice?.ref_text;
    says.textContent = voice ? this.say('voice_says', { text: voice.ref_text }) : '';
  }

  #count() {
    const { textChars } = this.options;
    const count = [...this.text.value].length;
    const place = this.find('.cf-count');
    place.textContent = count ? this.say('count', { count, limit: textChars }) : '';
    place.classList.toggle('cf-over', count > textChars);
    this.find('output').textContent = `${Number(this.speed.value).toFixed(2)} ×`;
  }

  /** A reload, a crash or an update of the service must not cost anybody their words. */
  #remember() {
    const fields = { text: this.text, 'prompt-text': this.promptText, instruction: this.instruction };
    for (const [name, field] of Object.entries(fields)) {
      field.value = recall(`form.${name}`) ?? '';
      field.addEventListener('input', () => keep(`form.${name}`, field.value));
    }
    this.speed.value = recall('form.speed') ?? 1;
    this.speed.addEventListener('input', () => keep('form.speed', this.speed.value));
    this.agreed = recall('form.consent') ? '' : null; // the voice it is ticked for, '' the recording
    this.consent.addEventListener('change', () => this.#agree(this.consent.checked));
  }

  #agree(checked) {
    this.agreed = checked ? this.voice.value : null;
    this.consent.checked = checked;
    keep('form.consent', this.agreed === '' ? '1' : null);
  }

  /** Another recording is another voice: it is asked for anew. */
  #heard({ count }) {
    if (this.recordings && count > this.recordings && this.agreed === '') this.#agree(false);
    this.recordings = count;
  }

  /** The words that were ticked, as they were read; '' where none are asked for. */
  #consent() {
    if (this.find('#consent').hidden) return '';
    if (!this.consent.checked) throw this.#problem('consent_missing');
    return this.say('consent');
  }

  #write(field, text) {
    field.value = text;
    field.dispatchEvent(new Event('input', { bubbles: true }));
  }

  #listen() {
    const { root } = this;
    root.addEventListener('input', () => {
      this.#count();
      this.#show(null);
    });
    root.addEventListener('change', ({ target }) => {
      if (target.name === 'mode') {
        keep('form.mode', target.value);
        this.#mode();
      }
      if (target === this.voice) this.#voice();
      if (target === this.preset && target.value) this.#write(this.instruction, target.value);
    });
    root.addEventListener('submit', (event) => {
      event.preventDefault();
      this.press();
    });
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.press();
    });
    this.find('#save').addEventListener('click', () => this.#keep());
    this.find('#cf-name').addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault(); // it would press Generate
      this.#keep();
    });
  }

  /** Generate was pressed, or what it says while it waits. */
  press() {
    if (this.waiting) {
      this.waiting.abort();
      return;
    }
    this.options.onpress();
    this.generate();
  }

  /** Hands the job in, once the recording has arrived. */
  async generate() {
    this.#show(null);
    const refused = this.#refused();
    if (refused) {
      this.#show(refused);
      this.#fieldOf(refused.code)?.focus();
      return;
    }
    const waiting = new AbortController();
    this.waiting = waiting;
    this.#button();
    try {
      this.options.onjob(await this.#submit(waiting.signal));
    } catch (error) {
      if (!waiting.signal.aborted) this.#fail(error);
    } finally {
      pending(false);
      this.waiting = null;
      this.#wait('');
      this.#button();
    }
  }

  /** What the service would refuse is not made to wait for an upload. */
  #refused() {
    const { problems } = this.options;
    const { mode } = this;
    const voice = voices.all?.find(({ name }) => name === this.voice.value);
    if (!this.text.value.trim()) return problems.text_empty;
    if (mode === 'instruct' && !this.instruction.value.trim()) return problems.mode_needs_instructions;
    if (voice ? mode === 'zero_shot' && !voice.ref_text
      : mode === 'zero_shot' && !this.promptText.value.trim()) return problems.mode_needs_prompt_text;
    return null;
  }

  async #submit(signal) {
    const { mode } = this;
    const wish = { input: this.text.value, mode, speed: Number(this.speed.value) };
    if (mode === 'instruct') wish.instructions = this.instruction.value;
    if (this.voice.value) {
      const consent = this.#consent();
      if (consent) wish.consent = consent;
      wish.voice = this.voice.value;
      return (await this.#post(wish, signal)).id;
    }
    if (mode === 'zero_shot') wish.ref_text = this.promptText.value;
    for (let sent = 0; ; sent += 1) {
      Object.assign(wish, await this.#recording(signal, () => pending(true)));
      try {
        return (await this.#post(wish, signal)).id;
      } catch (error) {
        // It was there, and its time is up: a page may stay open for days.
        if (error.problem?.code !== 'upload_unknown' || sent) throw error;
        await this.prompt.resend();
      }
    }
  }

  async #post(wish, signal) {
    this.#wait('submitting');
    return (await ask('/v1/jobs', { ...asJson('POST', wish), signal })).json();
  }

  /**
   * Waits for the recording; `{ref_upload, consent, upload_s, upload_bytes}`: what came in those
   * seconds.
   * `onwait`: it is not there yet.
   */
  async #recording(signal, onwait = () => {}) {
    const began = performance.now();
    await this.prompt.restored;
    this.prompt.pin();
    let had = null;
    for (;;) {
      const state = this.prompt.state();
      if (!state || state.state === 'idle') throw this.#problem('prompt_missing');
      if (state.state === 'failed') throw Object.assign(new Error(), { word: 'prompt_failed' });
      const consent = this.#consent();
      had ??= state.sentBytes ?? 0;
      const waited_s = (performance.now() - began) / 1000;
      if (state.state === 'ready' && state.sha256) {
        const ref_upload = state.sha256;
        if (waited_s < WAITED_S) return { ref_upload, consent, upload_s: 0, upload_bytes: 0 };
        // What the server had from before the page was loaded, nobody handed to the network.
        const upload_bytes = Math.max(0, Math.min(state.bytes - had, state.handedBytes));
        return { ref_upload, consent, upload_s: waited_s, upload_bytes };
      }
      if (waited_s > WAITED_S) {
        this.#wait('waiting');
        onwait();
      }
      await new Promise((resolve) => { setTimeout(resolve, LOOK_MS); });
      signal.throwIfAborted();
    }
  }

  #problem(code) {
    return Object.assign(new Error(code), { problem: this.options.problems[code] });
  }

  #wait(word) {
    const place = this.find('#waiting');
    const text = word && this.say(word);
    if (place.textContent !== text) place.textContent = text;
  }

  #button() {
    const button = this.find('#generate');
    button.textContent = this.say(this.waiting ? 'stop' : 'generate');
    button.classList.toggle('cf-main', !this.waiting);
  }

  #fieldOf(code) {
    if (/^text_/.test(code)) return this.text;
    return {
      mode_needs_prompt_text: this.voice.value ? this.voice : this.promptText,
      mode_needs_instructions: this.instruction,
      voice_unknown: this.voice,
      consent_missing: this.consent,
    }[code];
  }

  /** @param {object | null} problem a problem document, or `{word}` of our own */
  #show(problem) {
    if (!problem && !this.trouble) return;
    this.trouble = problem;
    const byTheTick = problem?.code === 'consent_missing' && !this.find('#consent').hidden;
    for (const place of this.root.querySelectorAll('[role=alert]')) {
      const here = problem && byTheTick === (place.id !== 'status');
      place.hidden = !here;
      place.textContent = here ? this.#words(problem) : '';
    }
    for (const field of this.root.querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
    if (problem?.code) this.#fieldOf(problem.code)?.setAttribute('aria-invalid', 'true');
  }

  #fail({ problem, word = 'unreached' }) {
    this.#show(problem ?? { word });
    if (problem?.code === 'consent_missing') this.consent.focus();
  }

  #words(problem) {
    if (problem.word) return this.say(problem.word);
    const sentence = problemWords(problem, this.lang).filter(Boolean).join(isChinese(this.lang) ? '' : ' ');
    return this.say('code', { sentence, code: problem.code });
  }

  /** Stores the recording as a voice. */
  async #keep() {
    const told = this.find('.cf-told');
    const name = this.find('#cf-name');
    const button = this.find('#save');
    button.disabled = true;
    told.textContent = '';
    try {
      const { ref_upload: upload, consent } = await this.#recording(new AbortController().signal);
      const voice = await voices.create({
        name: name.value, upload, ref_text: this.promptText.value, consent,
      });
      told.textContent = this.say('saved', { name: voice.name });
      name.value = '';
    } catch (error) {
      if (error.problem?.code === 'consent_missing') this.#fail(error);
      else told.textContent = this.#words(error.problem ?? { word: error.word ?? 'unreached' });
    } finally {
      button.disabled = false;
      this.#wait('');
    }
  }
}
