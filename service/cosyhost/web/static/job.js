/**
 * The job followed now. Jobs live on the server; this only shows them. The player and all that
 * follows a job is loaded when a person first touches the page, or when a job is to be shown.
 */

import { keep, recall } from './kit.js';

const BASE = '/v1/';
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

/** @param {string | null} id to go on with after a reload */
export const keepJob = (id) => keep('job', id);

/** A name that tells what is in the file, also when it lies among others. */
export function fileName(job, format) {
  const words = job.title.normalize('NFC').replace(/[^\p{L}\p{N}]+/gu, '-');
  const short = [...words].slice(0, 24).join('').replace(/^-+|-+$/g, '') || 'cosyhost';
  return `${short}-${job.id.slice(0, 8)}.${format}`;
}

export const audioUrl = (base, id, format) => `${base}jobs/${id}/audio?response_format=${format}`;

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
  const id = recall('job');
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
 *   drop: (id: string) => void, restore: () => string | null, setLang: (lang: string) => void}}
 *   `drop`: like `reset`, if that job is shown
 */
export function mount(element, options = {}) {
  const { base = BASE, lang = navigator.language } = options;
  place = { element, options: { ...options, base, lang } };
  view?.place(place.element, place.options);
  for (const touch of ['pointerdown', 'keydown']) window.addEventListener(touch, load, { once: true });
  const reset = () => {
    asked = null;
    keepJob(null);
    view?.reset();
  };
  return {
    follow: show,
    restore,
    reset,
    drop(id) {
      if (asked === id) reset();
    },
    setLang(lang) {
      place.options.lang = lang;
      view?.setLang(lang);
    },
  };
}
