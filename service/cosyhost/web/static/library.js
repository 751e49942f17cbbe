/** The voice library: listen, use, begin with, rename, delete. */

import { say } from './form_words.js';
import { confirmed, el, icon, isChinese, problemWords, tenth } from './kit.js';
import { soundOf, voices } from './voices.js';

/**
 * @param {HTMLElement} element is filled
 * @param {object} options
 * @param {string} options.lang
 * @param {(name: string) => void} options.onuse
 * @returns {{setLang: (lang: string) => void}}
 */
export function mount(element, { lang, onuse }) {
  const sound = new Audio();
  let playing = ''; // the voice that sounds
  let renaming = ''; // the voice whose new name is being written
  const summary = el('summary');
  const told = el('p.cosy-small', { role: 'status' });
  const none = el('p.cosy-small');
  const list = el('ul');
  const root = el('details.cosy.cosy-library', { id: 'library' }, summary, told, none, list);
  element.replaceChildren(root);

  const tell = (key, figures) => say(lang, key, figures);
  const report = (text) => { told.textContent = text; };
  const attempt = async (work) => {
    try {
      report(await work());
    } catch (error) {
      const words = error.problem ? problemWords(error.problem, lang).join(' ') : tell('unreached');
      report(words);
    }
  };

  const listen = (name) => {
    const again = playing === name;
    sound.pause();
    playing = again ? '' : name;
    if (playing) {
      sound.src = soundOf(name);
      attempt(async () => {
        await sound.play().catch((error) => { if (error.name !== 'AbortError') throw error; });
        return '';
      });
    }
    render();
  };
  sound.onended = sound.onerror = () => {
    playing = '';
    render();
  };

  const picture = (name, label, act, pressed) => {
    const button = el('button.cosy-bare', { type: 'button', onclick: act }, icon(name));
    button.ariaLabel = button.title = label;
    if (pressed !== undefined) button.ariaPressed = String(pressed);
    return button;
  };

  const nameForm = (name) => {
    const input = el('input', { value: name, maxLength: 64, required: true });
    input.ariaLabel = tell('new_name', { name });
    const form = el('form.cosy-row', {}, input, el('button', { type: 'submit' }, tell('ok')));
    const close = () => {
      renaming = '';
      render(name);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      attempt(async () => {
        const voice = await voices.rename(name, input.value);
        renaming = '';
        render(voice.name);
        return tell('renamed', { name: voice.name });
      });
    };
    form.onkeydown = (event) => { if (event.key === 'Escape') close(); };
    return form;
  };

  const row = (voice) => {
    const { name } = voice;
    const item = el('li');
    item.dataset.voice = name;
    if (renaming === name) {
      item.append(nameForm(name));
      return item;
    }
    const begins = voices.default === name;
    const heard = playing === name;
    const about = [tell('seconds', { seconds: tenth(voice.duration_s) }), voice.ref_text];
    const use = el('button', { type: 'button', onclick: () => onuse(name) }, tell('use'));
    use.ariaLabel = tell('use_name', { name });
    const words = {
      label: tell('delete'), sure: tell('delete_sure'), name: tell('delete_name', { name }),
    };
    item.append(
      picture(heard ? 'pause' : 'play', tell(heard ? 'silence' : 'listen', { name }),
        () => listen(name)),
      el('span.cosy-what', {}, el('span.cosy-title', {}, name),
        el('span.cosy-small', {}, about.filter(Boolean).join(' · '))),
      use,
      picture('star', tell(begins ? 'drop_default' : 'make_default', { name }), () => {
        voices.default = begins ? '' : name;
        report(tell(begins ? 'no_default' : 'default', { name }));
      }, begins),
      picture('edit', tell('rename', { name }), () => {
        renaming = name;
        render();
        const input = list.querySelector('input');
        input.focus();
        input.select();
      }),
      confirmed(words, () => attempt(async () => {
        await voices.remove(name);
        summary.focus();
        return tell('deleted', { name });
      }), 'bin'),
    );
    return item;
  };

  /** Focus stays on the same button of the same voice; `moved`: of that voice. */
  const render = (moved) => {
    const focused = list.contains(document.activeElement) && document.activeElement;
    const of = moved ?? focused?.closest?.('li')?.dataset.voice;
    const at = focused ? [...focused.parentElement.children].indexOf(focused) : 0;
    root.lang = isChinese(lang) ? 'zh-CN' : 'en';
    summary.replaceChildren(tell('library'), el('span.cosy-small', {}, String(voices.all?.length ?? '')));
    list.replaceChildren(...(voices.all ?? []).map(row));
    const trouble = voices.broken ? 'library_broken' : voices.all?.length === 0 ? 'library_none' : '';
    none.textContent = trouble && tell(trouble);
    if (of && (focused || moved)) {
      const item = [...list.children].find((child) => child.dataset.voice === of);
      (item?.children[at] ?? item?.querySelector('button'))?.focus?.();
    }
  };
  voices.addEventListener('change', () => { if (root.isConnected) render(); });
  render();
  return {
    setLang(chosen) {
      lang = chosen;
      report('');
      render();
    },
  };
}
