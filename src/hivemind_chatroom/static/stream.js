// What happens in the room, live: server-sent events, or polling where a stream can not be had.

import { getJson } from "./api.js";
import { page } from "./page.js";

const EVENTS = ["hello", "message", "link", "typing", "people", "you", "reset", "bye"];
const FAILURES = 3;
const RETRY_MS = 30_000;
const POLL_MS = 2_000;
const POLL_REFUSED_MS = 10_000;
const POLL_HIDDEN_MS = 10_000;
const POLL_PARKED_MS = 60_000;
const POLL_FAILING_MS = 10_000;
/** A browser allows six connections to a host, so a tab that nobody looks at gives its own back. */
const PARK_AFTER_MS = 180_000;
const WATCH_MS = 5_000;
const ASLEEP_MS = 30_000;
const OVERDUE_MS = 6_000;
const BYE_MS = 1_500;

/** Not all pages at the same moment. */
const spread = (ms) => ms * (0.75 + Math.random() / 2);

export class Live {
  /**
   * `since` is the newest number the page knows. `on` has a function for each event but `bye`, and `reach(state,
   * problem)`: "live", "polling", "lost", or "refused" with the problem.
   */
  constructor(since, on) {
    this.since = since;
    this.on = on;
    this.source = null;
    this.failures = 0;
    this.isPolling = false;
    this.isParked = false;
    this.isRefused = false;
    this.wasLost = false;
    this.missed = 0;
    this.pollTimer = 0;
    this.openTimer = 0;
    this.hiddenAt = document.hidden ? Date.now() : 0;
    this.watchedAt = Date.now();
    this.expected = null;
    this.followTheBrowser();
    this.open();
  }

  /** The server has taken a change of this number: it must come by the stream, or the stream is dead. */
  expect(seq) {
    this.expected = { seq, by: Date.now() + OVERDUE_MS };
  }

  // --- the stream ---------------------------------------------------------------------------------------------

  open() {
    this.close();
    this.isParked = false;
    const query = new URLSearchParams({ room: page.room, username: page.user, since: this.since });
    const source = new EventSource(`${page.base}events?${query}`);
    source.addEventListener("open", () => this.opened());
    source.addEventListener("error", () => this.failed(source));
    for (const name of EVENTS) source.addEventListener(name, (event) => this.hear(name, event.data));
    this.source = source;
  }

  close() {
    clearTimeout(this.openTimer);
    this.source?.close();
    this.source = null;
  }

  opened() {
    this.failures = 0;
    this.stopPolling();
    this.on.reach("live");
  }

  failed(source) {
    if (source !== this.source) return;
    this.failures += 1;
    if (!this.isPolling) this.on.reach("lost");
    if (source.readyState !== EventSource.CLOSED && this.failures < FAILURES && !this.isPolling) return;
    this.close();
    this.openLater(RETRY_MS);
    if (!this.isPolling) this.startPolling();
  }

  openLater(afterMs) {
    clearTimeout(this.openTimer);
    this.openTimer = setTimeout(() => this.open(), spread(afterMs));
  }

  hear(name, data) {
    if (name === "bye") {
      this.close();
      this.on.reach("lost");
      this.openLater(BYE_MS);
      return;
    }
    this.tell(name, JSON.parse(data));
  }

  tell(name, told) {
    if (name === "reset") this.since = 0;
    if (name === "message") this.since = Math.max(this.since, told.seq);
    this.on[name](told);
  }

  // --- polling ------------------------------------------------------------------------------------------------

  startPolling() {
    this.isPolling = true;
    this.poll();
  }

  stopPolling() {
    this.isPolling = false;
    clearTimeout(this.pollTimer);
  }

  async poll() {
    clearTimeout(this.pollTimer);
    const since = this.since;
    try {
      const query = { room: page.room, username: page.user };
      const both = [getJson("messages", { ...query, since }), getJson("status", query)];
      const [messages, status] = await Promise.all(both);
      if (!this.isPolling) return;
      this.take(messages, since);
      this.on.hello(status);
      if (this.wasLost && !this.isParked) this.openLater(0);
      this.wasLost = this.isRefused = false;
      this.missed = 0;
      this.on.reach("polling");
    } catch (error) {
      if (!this.isPolling) return;
      this.wasLost = true;
      this.missed += 1;
      this.isRefused = error.status === 401 || error.status === 403;
      this.on.reach(this.isRefused ? "refused" : "lost", error);
    }
    this.pollTimer = setTimeout(() => this.poll(), spread(this.pollMs()));
  }

  pollMs() {
    if (this.isParked) return POLL_PARKED_MS;
    if (this.isRefused) return POLL_REFUSED_MS;
    // A server in trouble is asked less and less often.
    const often = Math.min(POLL_MS * 2 ** Math.min(this.missed, 5), POLL_FAILING_MS);
    return document.hidden ? POLL_HIDDEN_MS : often;
  }

  take(messages, since) {
    const isAnew = since > 0 && messages.length > 0 && messages.every(({ seq }) => seq <= since);
    if (isAnew) this.tell("reset", {});
    for (const message of messages) this.tell("message", message);
  }

  // --- the browser --------------------------------------------------------------------------------------------

  followTheBrowser() {
    document.addEventListener("visibilitychange", () => this.seen());
    window.addEventListener("online", () => this.open());
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.open());
    setInterval(() => this.watch(), WATCH_MS);
  }

  seen() {
    this.hiddenAt = document.hidden ? Date.now() : 0;
    if (document.hidden) return;
    if (this.isParked) this.open();
    if (this.isPolling) this.poll();
  }

  watch() {
    const now = Date.now();
    const hasSlept = now - this.watchedAt > ASLEEP_MS;
    this.watchedAt = now;
    if (this.hiddenAt) {
      if (!this.isParked && now - this.hiddenAt > PARK_AFTER_MS) this.park();
    } else if (hasSlept || this.isOverdue(now)) {
      this.open();
    }
  }

  isOverdue(now) {
    if (!this.expected || this.isPolling) return false;
    const isHere = this.since >= this.expected.seq;
    const isOverdue = !isHere && now > this.expected.by;
    if (isHere || isOverdue) this.expected = null;
    return isOverdue;
  }

  park() {
    this.close();
    this.isParked = true;
    if (!this.isPolling) this.startPolling();
  }
}
