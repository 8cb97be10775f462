// What the browser remembers for the page. Storage may be switched off or full; then nothing is remembered.

const PREFIX = "hivemind-chat:";

export function remembered(key) {
  try {
    return localStorage.getItem(PREFIX + key) ?? "";
  } catch {
    return "";
  }
}

export function remember(key, value) {
  try {
    if (value) localStorage.setItem(PREFIX + key, value);
    else localStorage.removeItem(PREFIX + key);
  } catch {
    // Not remembered.
  }
}

/** The half-typed text of this tab, kept over reloads and changes of name. */
export function draft() {
  try {
    return sessionStorage.getItem(PREFIX + "draft") ?? "";
  } catch {
    return "";
  }
}

export function keepDraft(text) {
  try {
    sessionStorage.setItem(PREFIX + "draft", text);
  } catch {
    // Not kept.
  }
}
