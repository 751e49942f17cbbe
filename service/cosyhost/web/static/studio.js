/**
 * Ties the page together: mounts the widgets where Gradio left room for them, hands the prompt to
 * Python when Generate is pressed, follows the job it answers with, and keeps what was written.
 */

import * as prompt from './prompt.js';
import * as job from './job.js';
import * as restart from './restart.js';

const KEPT = ['text', 'prompt-text', 'instruction'];
const KEY = 'cosyhost.form.';

/** @type {{[name: string]: any}} what is on the page now; Gradio may take it away and put it back */
const here = {};

const field = (id) => document.querySelector(`#${id} textarea, #${id} input`);

/** Write into a field so that Gradio sees it. */
function write(input, value) {
  const owner = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(owner.prototype, 'value').set.call(input, value);
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

/** A reload, a crash or an update of the service must not cost anybody their text. */
function keepFields() {
  for (const id of KEPT) {
    const input = field(id);
    if (!input || input.dataset.kept) continue;
    input.dataset.kept = '1';
    const before = localStorage.getItem(KEY + id);
    if (before && !input.value) write(input, before);
    input.addEventListener('input', () => localStorage.setItem(KEY + id, input.value));
  }
}

const studio = {
  /** Mount a widget; called by the page for each place it has. */
  mount(name, element, options) {
    if (name === 'prompt') here.prompt = prompt.mount(element, options);
    if (name === 'job') {
      here.job = job.mount(element, { ...options, onretry: () => studio.press() });
      here.job.restore();
    }
    if (name === 'history') {
      here.history = job.mountHistory(element, { ...options, onpick: (id) => here.job?.follow(id) });
    }
    if (name === 'restart') restart.mount(element, options);
    keepFields();
  },

  /** What Python needs to know of the prompt: `{sha256, state}` as JSON, or '' if there is none.
   *  Generate may be pressed while the sound is still being read; its name is known soon. */
  async prompt() {
    job.unlock(); // while the press still counts as one, so that the sound may start by itself
    here.prompt?.pin();
    for (;;) {
      const state = here.prompt?.state();
      if (state?.sha256) return JSON.stringify({ sha256: state.sha256, state: state.state });
      if (!state || !['preparing', 'sending', 'checking'].includes(state.state)) return '';
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  follow(id) {
    if (id) here.job?.follow(id);
  },

  press() {
    document.querySelector('#generate')?.click();
  },
};

window.cosyStudio = studio;
new MutationObserver(keepFields).observe(document.body, { childList: true, subtree: true });
export default studio;
