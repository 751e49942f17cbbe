/** The network page: a button, the figures, and the sentence that matters. Loaded when opened. */

import { el, isChinese, problemWords, speaker } from './kit.js';
import { measure } from './netcheck.js';

const EN = {
  about: 'Measures the line between this browser and the service: at most 8 MB each way, about 5 to 25 s.',
  check: 'Check my connection',
  again: 'Check again',
  latency: 'Measuring the latency…',
  download: 'Measuring the download…',
  upload: 'Measuring the upload…',
  done: 'Done.',
  name_latency: 'Latency',
  name_jitter: 'Jitter',
  name_down: 'Download',
  name_up: 'Upload',
  ms: '{value} ms',
  mbit: '{value} Mbit/s',
  seconds: '{value} s',
  quick: 'under 0.1 s',
  prompt: 'A {seconds} s prompt takes {wav48} to upload as it is (WAV, {wav48_mb} MB), {flac} compacted without loss (FLAC, {flac_mb} MB), {opus} in the mode for slow lines (Opus, {opus_mb} MB).',
  none: 'Tier {tier} asks for no measured rate.',
  holds: 'Tier {tier} asks for {min_up} Mbit/s up and {min_down} Mbit/s down at its host: that holds, seen from here.',
  thin: 'Tier {tier} asks for {min_up} Mbit/s up and {min_down} Mbit/s down at its host; from here it gave {down} and {up}. Its line or yours is too thin: check again from a place with a quicker line.',
  often: 'Your address has checked too often. Wait a minute, then check again.',
  broken: 'The connection broke off during the check. Check your network, then try again.',
  offline: 'You are offline. Connect to a network, then try again.',
};

const ZH = {
  about: '测量本浏览器与服务之间的线路：每个方向最多 8 MB，约需 5 到 25 秒。',
  check: '检查我的网络',
  again: '再检查一次',
  latency: '正在测量延迟……',
  download: '正在测量下载……',
  upload: '正在测量上传……',
  done: '已完成。',
  name_latency: '延迟',
  name_jitter: '抖动',
  name_down: '下载',
  name_up: '上传',
  ms: '{value} 毫秒',
  mbit: '{value} Mbit/s',
  seconds: '{value} 秒',
  quick: '不到 0.1 秒',
  prompt: '{seconds} 秒的提示音频，原样上传（WAV，{wav48_mb} MB）需 {wav48}，无损压缩后（FLAC，{flac_mb} MB）需 {flac}，弱网模式（Opus，{opus_mb} MB）需 {opus}。',
  none: '{tier} 级别不要求实测速率。',
  holds: '{tier} 级别要求主机上行 {min_up} Mbit/s、下行 {min_down} Mbit/s：从这里看，已满足。',
  thin: '{tier} 级别要求主机上行 {min_up} Mbit/s、下行 {min_down} Mbit/s；从这里测得 {down} 与 {up}。主机或您这边的线路太窄，请换一处更快的线路再检查。',
  often: '来自您的地址的检查过于频繁。请等一分钟再检查。',
  broken: '检查途中连接断开。请检查网络后重试。',
  offline: '您已离线。请连接网络后重试。',
};

const say = speaker(EN, ZH);
// As `cosyhost netcheck` writes them.
const ratePlain = (mbit) => mbit.toFixed(mbit < 1 ? 2 : mbit < 100 ? 1 : 0);
const msPlain = (ms) => ms.toFixed(ms < 10 ? 1 : 0);

/**
 * @param {HTMLElement} element is filled
 * @param {string} lang
 * @returns {{setLang: (lang: string) => void}}
 */
export function mount(element, lang) {
  /** @type {{step?: string, result?: object, problem?: object, failed?: string}} */
  let now = {};
  const about = el('p.cosy-small');
  const button = el('button.cosy-primary', { type: 'button' });
  const status = el('p.cosy-step');
  const figures = el('dl.cosy-figures', { hidden: true });
  const sentences = el('p', { hidden: true });
  const asked = el('p', { hidden: true });
  // One live region: the step while it is measured, then all that came out.
  const told = el('div.cosy-measured', { ariaLive: 'polite' }, status, figures, sentences, asked);
  element.replaceChildren(about, button, told);

  function texts({ latency, jitter, down, up, terms, holds }) {
    const duration = (bytes) => {
      const seconds = (bytes * 8) / 1e6 / up;
      if (seconds < 0.1) return say(lang, 'quick');
      return say(lang, 'seconds', { value: seconds.toFixed(seconds < 10 ? 1 : 0) });
    };
    const named = { seconds: terms.prompt.seconds };
    for (const [way, bytes] of Object.entries(terms.prompt.bytes)) {
      named[way] = duration(bytes);
      named[`${way}_mb`] = (bytes / 1e6).toFixed(1);
    }
    return {
      figures: [
        ['name_latency', say(lang, 'ms', { value: msPlain(latency) })],
        ['name_jitter', say(lang, 'ms', { value: msPlain(jitter) })],
        ['name_down', say(lang, 'mbit', { value: ratePlain(down) })],
        ['name_up', say(lang, 'mbit', { value: ratePlain(up) })],
      ],
      prompt: say(lang, 'prompt', named),
      asked: say(lang, holds === null ? 'none' : holds ? 'holds' : 'thin', {
        tier: terms.tier, min_up: terms.link.min_up_mbit, min_down: terms.link.min_down_mbit,
        down: ratePlain(down), up: ratePlain(up),
      }),
    };
  }

  function render() {
    const { step, result, problem, failed } = now;
    told.lang = about.lang = button.lang = isChinese(lang) ? 'zh-CN' : 'en';
    about.textContent = say(lang, 'about');
    button.textContent = say(lang, result || problem || failed ? 'again' : 'check');
    button.ariaDisabled = String(Boolean(step)); // not disabled: that would take the focus away
    element.dataset.state = step ?? (result ? 'done' : problem || failed ? 'failed' : 'idle');
    const trouble = problem ? problemWords(problem, lang).join(' ') : failed && say(lang, failed);
    status.textContent = step ? say(lang, step) : trouble || (result ? say(lang, 'done') : '');
    status.classList.toggle('cosy-problem', Boolean(trouble));
    figures.hidden = sentences.hidden = asked.hidden = !result;
    if (!result) return;
    const text = texts(result);
    figures.replaceChildren(...text.figures.map(([name, value]) => (
      el('div', {}, el('dt', {}, say(lang, name)), el('dd', {}, value)))));
    Object.assign(figures.dataset, { down: result.down, up: result.up });
    sentences.textContent = text.prompt;
    asked.textContent = text.asked;
  }

  button.onclick = async () => {
    const show = (state) => {
      now = state;
      render();
    };
    if (now.step) return;
    try {
      show({ result: await measure((step) => show({ step })) });
    } catch (error) {
      if (error.problem?.code === 'too_many_requests') show({ failed: 'often' });
      else if (error.problem) show({ problem: error.problem });
      else show({ failed: navigator.onLine ? 'broken' : 'offline' });
    }
  };
  render();
  return {
    setLang(chosen) {
      lang = chosen;
      render();
    },
  };
}
