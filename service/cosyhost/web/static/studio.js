/**
 * The studio's page: fills the places Gradio made for it, ties them together, and speaks the
 * reader's language. Gradio may take a place away and put it back: mounting again is no harm.
 */

import * as form from './form.js';
import { say } from './form_words.js';
import * as history from './history.js';
import * as job from './job.js';
import { el, isChinese, keep, recall } from './kit.js';
import * as library from './library.js';
import * as restart from './restart.js';
import { voices } from './voices.js';

let lang = isChinese(recall('language') ?? navigator.language) ? 'zh' : 'en';
/** @type {Record<string, {setLang: (lang: string) => void}>} what is on the page now */
const here = {};

function setLang(chosen) {
  lang = chosen;
  document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
  for (const part of Object.values(here)) part.setLang(lang);
}

/** The name, what it does, the API's page, the other language, and what the engine is not. */
function head(element, { preview }) {
  const subtitle = el('span');
  const api = el('a', { id: 'api', href: '/docs' });
  const other = el('button.cs-other', {
    id: 'language', type: 'button', onclick: () => {
      setLang(lang === 'zh' ? 'en' : 'zh');
      keep('language', lang);
    },
  });
  const note = el('p.cs-preview', { id: 'preview', hidden: !preview });
  element.replaceChildren(
    el(
      'header.cs-head', {}, el('span.cs-mark', { ariaHidden: 'true' }),
      el('div', {}, el('h1', {}, 'CosyHost'), el('p', {}, subtitle, ' ', api)), other,
    ),
    note,
  );
  const setLang_ = (lang) => {
    subtitle.textContent = say(lang, 'subtitle');
    api.textContent = say(lang, 'api');
    note.textContent = say(lang, 'preview');
    other.textContent = say(lang, 'other');
    other.lang = lang === 'zh' ? 'en' : 'zh-CN';
    other.ariaLabel = say(lang, 'other_name');
  };
  setLang_(lang);
  return { setLang: setLang_ };
}

let revealing = false;

/** Shows a job, and once it is there brings it into sight where the page is one column. */
function follow(id) {
  revealing = true;
  here.job?.follow(id);
}

function reveal(place) {
  if (!revealing) return;
  revealing = false;
  const { top } = place.getBoundingClientRect();
  if (top < 0 || top > window.innerHeight / 3) place.scrollIntoView({ block: 'start', behavior: 'smooth' });
}

/** Folded, and empty until it is opened: most people never need it. */
function network(element, { lang }) {
  let part = null;
  const summary = el('summary');
  const body = el('div.cosy-network');
  const root = el('details.cosy', { id: 'network' }, summary, body);
  element.replaceChildren(root);
  root.ontoggle = async () => {
    if (!root.open || part) return;
    try {
      part = (await import('./network.js')).mount(body, lang);
    } catch {
      body.replaceChildren(el('p', { role: 'alert' }, say(lang, 'network_broken')));
    }
  };
  const setLang_ = (chosen) => {
    lang = chosen;
    root.lang = lang === 'zh' ? 'zh-CN' : 'en';
    summary.textContent = say(lang, 'network');
    part?.setLang(lang);
  };
  setLang_(lang);
  return { setLang: setLang_ };
}

/** How each place is filled. @type {Record<string, (element: HTMLElement, options: object) => object>} */
const PARTS = {
  head,
  form: (element, options) => form.mount(element, {
    ...options,
    onpress: () => job.unlock(), // while the press still counts as one, so that sound may start
    onjob: follow,
  }),
  job(element, options) {
    const mounted = job.mount(element, {
      ...options, onretry: () => here.form?.press(), onstate: () => reveal(element),
    });
    mounted.restore();
    return mounted;
  },
  history: (element, options) => history.mount(element, {
    ...options,
    onpick: follow,
    onforget: (id) => here.job?.drop(id),
  }),
  library: (element, options) => library.mount(element, {
    ...options, onuse: (name) => here.form?.use(name),
  }),
  network,
  restart: restart.mount,
};

const places = JSON.parse(document.getElementById('cosy-places').textContent);

/** Fills each place that Gradio has put on the page and nobody has filled. */
function fill() {
  for (const [name, options] of Object.entries(places)) {
    const place = document.getElementById(`cosy-${name}`);
    if (!place || place.querySelector(':scope > .cosy-place')) continue;
    const element = el('div.cosy-place');
    place.replaceChildren(element);
    here[name] = PARTS[name](element, { ...options, lang });
  }
}

setLang(lang);
voices.refresh();
new MutationObserver(fill).observe(document.body, { childList: true, subtree: true });
fill();
