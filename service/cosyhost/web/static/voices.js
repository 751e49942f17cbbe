/** The stored voices, as all parts of the page see them. */

import { ask, asJson, keep, recall } from './kit.js';

const URL_ = '/v1/audio/voices';
const of = (name) => `${URL_}/${encodeURIComponent(name)}`;

/**
 * @typedef {object} Voice
 * @property {string} name
 * @property {string} ref_text what its recording says; may be empty
 * @property {number} duration_s
 */

class Voices extends EventTarget {
  /** @type {Voice[]} newest news of the server; null before the first */
  all = null;
  broken = false;

  async refresh() {
    try {
      this.all = (await (await ask(URL_)).json()).uploaded_voices;
      this.broken = false;
    } catch {
      this.broken = true;
    }
    this.#say();
  }

  /** The voice this browser begins with, or ''. */
  get default() {
    return recall('default_voice') ?? '';
  }

  set default(name) {
    keep('default_voice', name);
    this.#say();
  }

  /**
   * @param {{name: string, upload: string, ref_text: string, consent: string}} fields
   * @throws {import('./kit.js').Unready}
   */
  async create(fields) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    const { voice } = await (await ask(URL_, { method: 'POST', body })).json();
    await this.refresh();
    return voice;
  }

  /** @throws {import('./kit.js').Unready} */
  async rename(name, to) {
    const { voice } = await (await ask(of(name), asJson('PATCH', { name: to }))).json();
    if (this.default === name) keep('default_voice', voice.name);
    await this.refresh();
    return voice;
  }

  /** @throws {import('./kit.js').Unready} */
  async remove(name) {
    await ask(of(name), { method: 'DELETE' });
    if (this.default === name) keep('default_voice', null);
    await this.refresh();
  }

  #say() {
    this.dispatchEvent(new Event('change'));
  }
}

export const voices = new Voices();

/** Where the recording of a voice is heard. */
export const soundOf = (name) => `${of(name)}/audio`;
