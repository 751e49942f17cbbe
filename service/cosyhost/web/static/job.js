/**
 * The browser side of jobs: the one followed now, and the list of this browser's. Jobs live on the
 * server; this only shows them. The player and all that follows a job is loaded when a person first
 * touches the page, or when a job is there to be shown.
 */

import { isChinese, say } from './job_words.js';

const LAST = 'cosyhost.job';
const BASE = '/v1/';
const PAGE = 8;
const LOAD_AGAIN_MS = 2000;

/**
 * @typedef {object} JobDocument
 * @property {string} id
 * @property {'queued'|'running'|'done'|'failed'|'cancelled'} state
 * @property {boolean} preview
 * @property {number} attempts
 * @property {number | null} position
 * @property {number | null} eta_s
 * @property {number | null} spoken_s
 * @property {number | null} audio_s
 * @property {number} created_at unix seconds
 * @property {string} title
 * @property {number} [upload_bytes]
 * @property {Record<string, number>} timings_s
 * @property {Record<string, string>} [problem] code, detail, detail_zh, hint, hint_zh
 */

/** The server's no: asking again would change nothing. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

export async function ask(url, init = {}) {
  const response = await fetch(url, { cache: 'no-store', credentials: 'same-origin', ...init });
  if (response.ok) return response;
  const { status } = response;
  if (status >= 500 || [408, 425, 429].includes(status)) throw new Error(`HTTP ${status}`);
  const problem = await response.json().catch(() => ({}));
  throw new Refused({ code: `http_${status}`, detail: `HTTP ${status}`, ...problem });
}

/** @returns {string | null} the job followed last in this browser */
function lastJob() {
  try {
    return localStorage.getItem(LAST);
  } catch {
    return null; // a private window may refuse; then a reload starts anew
  }
}

/** @param {string | null} id to go on with after a reload */
export function keepJob(id) {
  try {
    if (id) localStorage.setItem(LAST, id);
    else localStorage.removeItem(LAST);
  } catch {
    // as above
  }
}

/** A name that tells what is in the file, also when it lies among others. */
export function fileName(job, format) {
  const words = job.title.normalize('NFC').replace(/[^\p{L}\p{N}]+/gu, '-');
  const short = [...words].slice(0, 24).join('').replace(/^-+|-+$/g, '') || 'cosyhost';
  return `${short}-${job.id.slice(0, 8)}.${format}`;
}

export const audioUrl = (base, id, format) => `${base}jobs/${id}/audio?response_format=${format}`;
export const tenth = (seconds) => (seconds ?? 0).toFixed(1);

const SVG = 'http://www.w3.org/2000/svg';
const ICONS = {
  play: 'M7 4v16l13-8z',
  pause: 'M6 4h4v16H6zM14 4h4v16h-4z',
  loud: 'M3 9v6h4l5 5V4L7 9zM15 8a5 5 0 0 1 0 8zM15 4a9 9 0 0 1 0 16v-2a7 7 0 0 0 0-12z',
  mute: 'M3 9v6h4l5 5V4L7 9zM21 9l-1-1-2.5 2.5L15 8l-1 1 2.5 2.5L14 14l1 1 2.5-2.5L20 15l1-1-2.5-2.5z',
};

/** @param {keyof ICONS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'path'));
  svg.firstChild.setAttribute('d', ICONS[name]);
  return svg;
}

/**
 * An element with properties and children.
 * @param {string} tag as `name.class`
 * @param {object} [properties]
 * @param {...(Node | string)} children
 */
export function el(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const node = Object.assign(document.createElement(name), properties);
  node.className = classes.join(' ');
  node.append(...children);
  return node;
}

let view = null;
let unlockSound = null;
let loading = null;

function load() {
  loading ??= (async () => {
    for (;;) {
      try {
        return await import('./job_view.js');
      } catch {
        await new Promise((resolve) => { setTimeout(resolve, LOAD_AGAIN_MS); });
      }
    }
  })().then((module) => {
    unlockSound = module.unlock;
    return module;
  });
  return loading;
}

let place = null; // where the job is shown, and how
let asked = null; // the job to show

async function show(id, how) {
  asked = id;
  keepJob(id);
  const { JobView } = await load();
  if (asked !== id) return;
  if (!view) {
    view = new JobView();
    view.place(place.element, place.options);
  }
  view.follow(id, how);
}

/** Goes on with the job of before the reload, if there is one. @returns {string | null} its id */
export function restore() {
  const id = lastJob();
  if (id) show(id, { restored: true });
  return id;
}

/** To be called in the click that submits: some browsers let sound begin only in a click. */
export const unlock = () => unlockSound?.();

/**
 * Shows one job in `element`. The page has one such place: mounting again, as a framework does that
 * rebuilds its elements, moves there what is shown.
 * @param {HTMLElement} element is filled
 * @param {object} [options]
 * @param {string} [options.lang] 'zh' or 'en'; else the browser's
 * @param {string} [options.base] where the API lives, with a slash at its end
 * @param {(job: JobDocument) => void} [options.onstate] called with every document
 * @param {(job: JobDocument) => void} [options.onretry] "try again" of a failed or cancelled job
 * @returns {{follow: (id: string, how?: {play?: boolean}) => void, reset: () => void,
 *   restore: () => string | null, setLang: (lang: string) => void}}
 */
export function mount(element, options = {}) {
  const { base = BASE, lang = navigator.language } = options;
  place = { element, options: { ...options, base, lang } };
  view?.place(place.element, place.options);
  for (const touch of ['pointerdown', 'keydown']) window.addEventListener(touch, load, { once: true });
  return {
    follow: show,
    restore,
    reset() {
      asked = null;
      keepJob(null);
      view?.reset();
    },
    setLang(lang) {
      place.options.lang = lang;
      view?.setLang(lang);
    },
  };
}

/**
 * Lists this browser's jobs in `element`; refreshed by itself when one begins or ends.
 * @param {HTMLElement} element is filled
 * @param {object} [options]
 * @param {string} [options.lang]
 * @param {string} [options.base]
 * @param {(id: string) => void} [options.onpick] a job was chosen: to be followed
 * @returns {{refresh: () => Promise<void>, setLang: (lang: string) => void}}
 */
export function mountHistory(element, options = {}) {
  const { onpick } = options;
  const base = options.base ?? BASE;
  let lang = options.lang ?? navigator.language;
  let jobs = [];
  let limit = PAGE;
  let broken = false;
  let asked = 0;
  const heading = el('h3');
  const none = el('p.cosy-small');
  const list = el('ul');
  const more = el('button', { type: 'button' });
  const root = el('section.cosy.cosy-history', {}, heading, none, list, more);
  element.replaceChildren(root);

  const row = (job) => {
    const tell = (key, figures) => say(lang, key, figures);
    const title = job.title || tell('untitled');
    const done = job.state === 'done';
    const state = tell(`state_${job.state}`);
    const seconds = done ? tell('seconds', { seconds: tenth(job.audio_s) }) : state;
    const pick = el(
      'button.cosy-pick', { type: 'button', onclick: () => onpick?.(job.id) },
      el(
        'span.cosy-what', {}, el('span.cosy-title', {}, title),
        el('span.cosy-small', {}, `${when(job)} · ${seconds}`),
      ),
    );
    pick.ariaLabel = tell(done ? 'play_title' : 'show', { title, state });
    if (done) pick.prepend(icon('play'));
    const item = el('li', {}, pick);
    item.dataset.state = job.state;
    if (done) {
      item.append(el('a', {
        href: audioUrl(base, job.id, 'mp3'), download: fileName(job, 'mp3'), textContent: 'MP3',
        ariaLabel: `${tell('download_title', { title })}, MP3`,
      }));
    }
    return item;
  };
  const when = (job) => {
    const at = new Date(job.created_at * 1000);
    const today = at.toDateString() === new Date().toDateString();
    const style = { timeStyle: 'short', ...(today ? {} : { dateStyle: 'short' }) };
    return new Intl.DateTimeFormat(isChinese(lang) ? 'zh-CN' : 'en', style).format(at);
  };
  const render = () => {
    root.lang = isChinese(lang) ? 'zh' : 'en';
    heading.textContent = say(lang, 'history');
    none.textContent = say(lang, broken ? 'history_broken' : 'history_none');
    none.hidden = !broken && jobs.length > 0;
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    list.replaceChildren(...jobs.slice(0, limit).map(row));
    list.children[focused]?.querySelector('button').focus();
    more.textContent = say(lang, 'more');
    more.hidden = jobs.length <= limit;
  };
  const refresh = async () => {
    const turn = ++asked;
    try {
      const answer = await (await ask(`${base}jobs`)).json();
      if (turn !== asked) return;
      jobs = answer.jobs;
      broken = false;
    } catch {
      broken = true;
    }
    render();
  };
  more.onclick = () => {
    const before = limit;
    limit += PAGE;
    render();
    list.children[before]?.querySelector('button').focus();
  };
  const watch = () => {
    if (root.isConnected) refresh();
    else window.removeEventListener('cosyhost:job', watch);
  };
  window.addEventListener('cosyhost:job', watch);
  render();
  refresh();
  return {
    refresh,
    setLang(chosen) {
      lang = chosen;
      render();
    },
  };
}

export const CosyJob = { mount, restore, unlock };
export const CosyHistory = { mount: mountHistory };
