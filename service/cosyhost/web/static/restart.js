/**
 * The restart button with the workers' state beside it: stopping, loading model, ready, and since
 * how long.
 */

const WORDS = {
  en: {
    title: 'Service',
    press: 'Restart the model',
    sure: 'Restart now? Running jobs are finished first, waiting ones stay in the queue.',
    asked: 'Restart asked for…',
    ready: 'Ready: {children} at work',
    loading: 'Loading the model ({seconds} s)',
    stopping: 'Stopping: running jobs are finished first ({seconds} s)',
    failed: 'The model does not load; it is tried again ({problem}, {seconds} s). Tell the operator.',
    away: 'No worker is there. It comes back by itself; if not, tell the operator.',
    lost: 'The service does not answer; asking again…',
  },
  zh: {
    title: '服务',
    press: '重启模型',
    sure: '现在重启？正在生成的任务会先完成，排队的任务保留。',
    asked: '已请求重启…',
    ready: '就绪：{children} 个进程在工作',
    loading: '正在加载模型（{seconds} 秒）',
    stopping: '正在停止：先完成进行中的任务（{seconds} 秒）',
    failed: '模型加载失败，正在重试（{problem}，{seconds} 秒）。请告知管理员。',
    away: '没有可用的工作进程，会自动恢复；若长时间未恢复请告知管理员。',
    lost: '服务没有应答，正在重试…',
  },
};
const LOOK_MS = 1000;
const CALM_MS = 10000;
// The click is answered before the workers hear of it.
const HEARD_WITHIN_MS = 4000;

const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

/**
 * Put the button into `element`.
 * @param {HTMLElement} element
 * @param {{admin?: string, lang?: string}} [options] the path of the admin API; 'zh' or 'en', else
 *   the browser's language
 * @returns {{setLang: (lang: string) => void}}
 */
export function mount(element, { admin = '/v1/admin', lang = navigator.language } = {}) {
  let words;
  element.classList.add('cosy', 'cosy-restart');
  element.innerHTML =
    '<div class="cosy-head"><div><h3></h3><p role="status" aria-live="polite"></p></div>' +
    '<button type="button"></button></div>';
  const [heading, line] = [element.querySelector('h3'), element.querySelector('p')];
  const button = element.querySelector('button');
  let timer;
  let pressed = 0;

  function setLang(chosen) {
    words = chosen.startsWith('zh') ? WORDS.zh : WORDS.en;
    element.lang = words === WORDS.zh ? 'zh' : 'en';
    heading.textContent = words.title;
    button.textContent = words.press;
  }

  const say = (sentence) => {
    if (line.textContent !== sentence) line.textContent = sentence;
  };

  function show(document_) {
    const { state, for_s: seconds, children, problem } = document_;
    const unheard = state === 'ready' && Date.now() - pressed < HEARD_WITHIN_MS;
    element.dataset.state = unheard ? 'asked' : state;
    say(unheard ? words.asked : fill(words[state], { seconds: Math.round(seconds), children, problem }));
    button.disabled = unheard || state === 'stopping' || state === 'loading';
    return unheard || state !== 'ready';
  }

  async function look() {
    clearTimeout(timer);
    let busy = true;
    try {
      const answer = await fetch(`${admin}/state`, { cache: 'no-store' });
      if (!answer.ok) throw new Error(String(answer.status));
      busy = show(await answer.json());
    } catch {
      element.dataset.state = 'lost';
      say(words.lost);
    }
    if (element.isConnected) timer = setTimeout(look, busy ? LOOK_MS : CALM_MS);
  }

  button.addEventListener('click', async () => {
    if (!window.confirm(words.sure)) return;
    button.disabled = true;
    try {
      const answer = await fetch(`${admin}/restart`, { method: 'POST' });
      if (answer.status === 202) {
        pressed = Date.now();
        say(words.asked);
      } else {
        const refusal = await answer.json();
        const zh = words === WORDS.zh;
        say(`${zh ? refusal.detail_zh : refusal.detail} ${zh ? refusal.hint_zh : refusal.hint}`);
        button.disabled = false;
        return;
      }
    } catch {
      say(words.lost);
    }
    look();
  });
  setLang(lang);
  look();
  return { setLang };
}
