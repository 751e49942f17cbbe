/** What every widget of the studio uses: elements, sentences, requests, a memory. */

const SVG = 'http://www.w3.org/2000/svg';
const ICONS = {
  play: 'M7 4v16l13-8z',
  pause: 'M6 4h4v16H6zM14 4h4v16h-4z',
  loud: 'M3 9v6h4l5 5V4L7 9zM15 8a5 5 0 0 1 0 8zM15 4a9 9 0 0 1 0 16v-2a7 7 0 0 0 0-12z',
  mute: 'M3 9v6h4l5 5V4L7 9zM21 9l-1-1-2.5 2.5L15 8l-1 1 2.5 2.5L14 14l1 1 2.5-2.5L20 15l1-1-2.5-2.5z',
  star: 'M12 3l2.7 5.9 6.3.7-4.7 4.3 1.3 6.3L12 17l-5.6 3.2 1.3-6.3L3 9.6l6.3-.7z',
  edit: 'M4 16.5V20h3.5L18 9.5 14.5 6zM20.4 7.1a1 1 0 0 0 0-1.4l-2.1-2.1a1 1 0 0 0-1.4 0L15.5 5 19 8.5z',
  bin: 'M6 8h12l-1 13H7zM9 4h6l1 2h4v1.5H4V6h4z',
};
const CONFIRM_MS = 5000;

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

/**
 * A button whose first press only asks: for what cannot be taken back.
 * @param {{label: string, sure: string, name: string}} words on it, on it when it asks, and what a
 *   screen reader says
 * @param {() => void} act
 * @param {keyof ICONS} [picture] shown in place of the label until it asks
 */
export function confirmed({ label, sure, name }, act, picture) {
  const button = el('button.cosy-confirm', { type: 'button' });
  let timer = 0;
  const rest = () => {
    clearTimeout(timer);
    delete button.dataset.sure;
    button.replaceChildren(picture ? icon(picture) : label);
    button.ariaLabel = button.title = name;
  };
  button.onclick = () => {
    if (button.dataset.sure) {
      rest();
      act();
      return;
    }
    button.dataset.sure = '1';
    button.replaceChildren(sure);
    button.ariaLabel = `${name}: ${sure}`;
    timer = setTimeout(rest, CONFIRM_MS);
  };
  button.onblur = rest;
  button.onkeydown = (event) => { if (event.key === 'Escape') rest(); };
  rest();
  return button;
}

/** @param {string} lang as a browser names it */
export const isChinese = (lang) => lang.toLowerCase().startsWith('zh');

/**
 * A function `say(lang, key, figures)` over words in both languages.
 * @param {Record<string, string>} en with {names} to be filled in
 * @param {Record<string, string>} zh
 */
export const speaker = (en, zh) => (lang, key, figures = {}) => (
  (isChinese(lang) ? zh : en)[key].replace(/\{(\w+)\}/g, (_, name) => figures[name]));

/** @returns {[string, string]} what is wrong and what to do, in the reader's language */
export function problemWords(problem, lang) {
  const zh = isChinese(lang);
  return [
    (zh && problem.detail_zh) || problem.detail || problem.code,
    (zh && problem.hint_zh) || problem.hint || '',
  ];
}

/** The server could not, this time; `problem` says why, as a problem document. */
export class Unready extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

/** The server's no: asking again would change nothing. */
export class Refused extends Unready {}

/**
 * A request of this page's own API.
 * @param {string} url
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} a good one
 * @throws {Refused | Unready} the server's problem; a TypeError where it was not reached
 */
export async function ask(url, init = {}) {
  const response = await fetch(url, { cache: 'no-store', credentials: 'same-origin', ...init });
  if (response.ok) return response;
  const { status } = response;
  const said = await response.json().catch(() => ({}));
  const problem = { code: `http_${status}`, detail: `HTTP ${status}`, ...said };
  const later = status >= 500 || [408, 425, 429].includes(status);
  throw new (later ? Unready : Refused)(problem);
}

/** @param {object} document sent as JSON */
export const asJson = (method, document) => ({
  method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(document),
});

// A private window may refuse; then a reload starts anew.

/** @returns {string | null} */
export function recall(key) {
  try {
    return localStorage.getItem(`cosyhost.${key}`);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string | null} value null forgets it */
export function keep(key, value) {
  try {
    if (value) localStorage.setItem(`cosyhost.${key}`, value);
    else localStorage.removeItem(`cosyhost.${key}`);
  } catch {
    // as above
  }
}

export const tenth = (seconds) => (seconds ?? 0).toFixed(1);
