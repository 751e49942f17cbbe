/** What outlives a reload: the encoded prompt audio, the uplink's speed, what was sent as what. */

const KEEP_MS = 24 * 3600e3;
const UPLINK_KEEP_MS = 3600e3; // a laptop moves between networks
const UPLINK = 'cosyhost.uplink';
const FLAG = 'cosyhost.prompt.';
const SENT = 'cosyhost.sent';
const SENT_MOST = 100; // of some 80 bytes

/** One transaction on the only object store; a private window may refuse. */
async function withStore(mode, work) {
  const db = await new Promise((resolve, reject) => {
    const opening = indexedDB.open('cosyhost', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore('prompts', { keyPath: 'key' });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = opening.onblocked = () => reject(opening.error);
  });
  try {
    return await new Promise((resolve, reject) => {
      const transaction = db.transaction('prompts', mode);
      const asked = work(transaction.objectStore('prompts'));
      transaction.oncomplete = () => resolve(asked.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    db.close();
  }
}

/** @param {object} prompt with its `key` */
export async function keep(prompt) {
  try {
    localStorage.setItem(FLAG + prompt.key, '1');
    await withStore('readwrite', (store) => store.put({ ...prompt, at: Date.now() }));
  } catch {
    // Without a memory a reload starts anew, nothing worse.
  }
}

/** @param {string} key */
export async function forget(key) {
  try {
    localStorage.removeItem(FLAG + key);
    await withStore('readwrite', (store) => store.delete(key));
  } catch {
    // as above
  }
}

/**
 * @param {string} key
 * @returns {Promise<object | null>}
 */
export async function recall(key) {
  try {
    const prompt = await withStore('readonly', (store) => store.get(key));
    if (prompt && Date.now() - prompt.at < KEEP_MS) return prompt;
    await forget(key);
  } catch {
    // as above
  }
  return null;
}

/** @returns {number | null} bit/s as last measured, or as the browser guesses when it is thin */
export function uplink() {
  try {
    const { bps, at } = JSON.parse(localStorage.getItem(UPLINK)) ?? {};
    if (bps && Date.now() - at < UPLINK_KEEP_MS) return bps;
  } catch {
    // as above
  }
  const { effectiveType, saveData } = navigator.connection ?? {};
  return { 'slow-2g': 5e4, '2g': 1e5, '3g': 4e5 }[effectiveType] ?? (saveData ? 4e5 : null);
}

/** @param {number} bps measured from acknowledged bytes */
export function uplinkWas(bps) {
  try {
    localStorage.setItem(UPLINK, JSON.stringify({ bps: Math.round(bps), at: Date.now() }));
  } catch {
    // as above
  }
}

/** @returns {Record<string, string>} formats by hash, the latest first */
function sent() {
  return JSON.parse(localStorage.getItem(SENT)) ?? {};
}

/**
 * @param {string} heard hash of a sound's samples
 * @returns {string | null} the format in which the server last got it
 */
export function sentAs(heard) {
  try {
    return sent()[heard] ?? null;
  } catch {
    return null; // as above
  }
}

/**
 * @param {string} heard see sentAs
 * @param {string} format
 */
export function sentWas(heard, format) {
  try {
    const { [heard]: _, ...others } = sent();
    const latest = [[heard, format], ...Object.entries(others)].slice(0, SENT_MOST);
    localStorage.setItem(SENT, JSON.stringify(Object.fromEntries(latest)));
  } catch {
    // as above
  }
}
