/** This browser's jobs: heard again, downloaded, deleted. */

import { audioUrl, fileName } from './job.js';
import { say } from './job_words.js';
import { Refused, ask, confirmed, el, icon, isChinese, tenth } from './kit.js';

const BASE = '/v1/';
const PAGE = 8;
const ENDED = ['done', 'failed', 'cancelled'];

/**
 * Lists this browser's jobs in `element`; refreshed by itself when one begins or ends.
 * @param {HTMLElement} element is filled
 * @param {object} [options]
 * @param {string} [options.lang]
 * @param {string} [options.base]
 * @param {(id: string) => void} [options.onpick] a job was chosen: to be followed
 * @param {(id: string) => void} [options.onforget] a job and its sound are gone
 * @returns {{refresh: () => Promise<void>, setLang: (lang: string) => void}}
 */
export function mount(element, options = {}) {
  const { onpick, onforget } = options;
  const base = options.base ?? BASE;
  let lang = options.lang ?? navigator.language;
  let jobs = [];
  let limit = PAGE;
  let trouble = null;
  let asked = 0;
  const heading = el('h3');
  const none = el('p.cosy-small', { role: 'status' });
  const list = el('ul');
  const more = el('button', { type: 'button' });
  const root = el('section.cosy.cosy-history', { tabIndex: -1 }, heading, none, list, more);
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
    if (ENDED.includes(job.state)) {
      const words = {
        label: tell('delete'), sure: tell('delete_sure'), name: tell('delete_title', { title }),
      };
      item.append(confirmed(words, () => forget(job), 'bin'));
    }
    return item;
  };
  const forget = async ({ id }) => {
    const at = jobs.findIndex((job) => job.id === id);
    trouble = null;
    try {
      await ask(`${base}jobs/${id}?forget=true`, { method: 'DELETE' });
      onforget?.(id);
    } catch (error) {
      // One that is not there any more is what was wanted.
      if (!(error instanceof Refused)) trouble = 'delete_failed';
    }
    await refresh(trouble);
    (list.children[Math.min(at, list.children.length - 1)]?.querySelector('button') ?? root).focus();
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
    none.textContent = say(lang, trouble ?? 'history_none');
    none.hidden = !trouble && jobs.length > 0;
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    list.replaceChildren(...jobs.slice(0, limit).map(row));
    list.children[focused]?.querySelector('button').focus();
    more.textContent = say(lang, 'more');
    more.hidden = jobs.length <= limit;
  };
  const refresh = async (told = null) => {
    const turn = ++asked;
    trouble = told;
    try {
      const answer = await (await ask(`${base}jobs`)).json();
      if (turn !== asked) return;
      jobs = answer.jobs;
    } catch {
      trouble ??= 'history_broken';
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
    refresh: () => refresh(),
    setLang(chosen) {
      lang = chosen;
      render();
    },
  };
}
