// Requests to the chatroom. What goes wrong becomes a Problem: a sentence and its cure.

import { page } from "./page.js";

const TIMEOUT_MS = 20_000;

export class Problem extends Error {
  constructor(message, cure = "", status = 0, retryAfter = 0) {
    super(message);
    this.cure = cure;
    this.status = status;
    /** Seconds; 0 when the server names none. */
    this.retryAfter = retryAfter;
  }
}

const BY_STATUS = {
  400: ["The chatroom does not understand this message.", "Write it in other words."],
  401: ["You are signed out.", "Sign in again."],
  403: ["The chatroom does not let this browser in.", "Load the page again, or ask whoever runs it."],
  413: ["The message is too long.", "Shorten it."],
  429: ["That was too fast.", "Wait a moment and send it again."],
  503: ["The chatroom can not take messages now.", "Send it again in a while."],
};

const UNREACHABLE = ["The chatroom does not answer.", "Check your network; send it again when that is back."];

async function request(path, options) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
  try {
    const response = await fetch(page.base + path, {
      credentials: "same-origin",
      cache: "no-cache",
      redirect: "error",
      signal: stop.signal,
      ...options,
      headers: { Accept: "application/json", ...options.headers },
    });
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    throw error instanceof Problem ? error : new Problem(...UNREACHABLE);
  } finally {
    clearTimeout(timer);
  }
}

async function problemOf(response) {
  const [message, cure] = BY_STATUS[response.status] ?? ["The chatroom has a fault.", "Try it again in a while."];
  const said = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const worded = typeof said?.message === "string" && said.message !== "";
  return worded
    ? new Problem(said.message, String(said.cure ?? ""), response.status, retryAfter)
    : new Problem(message, cure, response.status, retryAfter);
}

export function getJson(path, query) {
  return request(`${path}?${new URLSearchParams(query)}`, { method: "GET" });
}

export function postJson(path, body) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}
