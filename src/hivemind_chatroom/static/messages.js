// The list of messages: one element each, kept in the order of their ids, never rebuilt.

import { byId, page } from "./page.js";
import { authorOf, dayOf, drawView, isMine, makeView, markDay } from "./view.js";

const TOGETHER_S = 300;
const OPEN = new Set(["sending", "sent"]);

export class MessageList {
  /**
   * `onAgain(text, isPrivate)` sends a message once more, `onChange()` follows every change of what is shown, and
   * `steadily(change)` makes a change above what the reader reads.
   */
  constructor({ onAgain, onChange, steadily }) {
    this.list = byId("messages");
    this.onChange = onChange;
    this.steadily = steadily;
    this.views = [];
    this.known = new Map();
    this.pending = new Map();
    this.isPrivate = false;
    this.newest = 0;
    this.actions = {
      jump: (id) => this.jump(id),
      again: (view) => {
        view.wasSentAgain = true;
        drawView(view);
        onAgain(view.message.text, view.message.private);
      },
    };
  }

  /** Take over the messages that came with the page. */
  adopt() {
    const found = Array.from(this.list.children, (item) => JSON.parse(item.dataset.message));
    this.list.replaceChildren();
    for (const message of found) this.upsert(message);
  }

  /** Show a message of the server, new or changed. Returns whether it is new. */
  upsert(message) {
    if (message.room !== page.room) return false;
    this.newest = Math.max(this.newest, message.seq);
    const view = this.known.get(message.id);
    if (view) {
      if (message.seq >= view.message.seq) this.change(view, message);
      return false;
    }
    const waiting = isMine(message) && this.pendingWith(message.text);
    if (waiting) this.settle(waiting, message);
    else this.insert(makeView(message, this.actions));
    return true;
  }

  /** Show a message that is on its way to the server; returns its key. */
  add(text, isPrivate) {
    const key = Symbol(text);
    const view = makeView(draftOf(text, isPrivate), this.actions);
    this.pending.set(key, view);
    this.insert(view);
    return key;
  }

  /** The server took it, as `message`. */
  confirm(key, message) {
    page.ownIds.add(message.user_id);
    const waiting = this.pending.get(key);
    const isKnown = this.known.has(message.id);
    if (waiting && !isKnown) this.settle(key, message);
    else this.upsert(message);
    if (waiting && isKnown) this.withdraw(key);
  }

  /** It never got there. */
  withdraw(key) {
    const view = this.pending.get(key);
    this.pending.delete(key);
    if (view) this.remove(view);
  }

  /** It never got there, and stays with its reason. */
  fail(key, note) {
    const view = this.pending.get(key);
    this.pending.delete(key);
    if (!view) return;
    view.rank = this.views.reduce((highest, each) => Math.max(highest, each.message.id), 0);
    this.change(view, { ...view.message, state: "failed", note });
  }

  /** Forget all that the server said; it says it again. */
  reset() {
    for (const view of this.views.filter((each) => each.message.id)) this.remove(view);
    this.newest = 0;
  }

  /** Show only one's own conversation, or all. */
  showOnlyMine(isPrivate) {
    this.isPrivate = isPrivate;
    for (const view of this.views) view.item.hidden = !this.isShown(view.message);
    this.arrange(0, this.views.length);
    this.onChange();
  }

  jump(id) {
    const view = this.known.get(id);
    if (!view || view.item.hidden) return;
    view.item.tabIndex = -1;
    view.item.focus({ preventScroll: true });
    view.item.scrollIntoView({ block: "center" });
    view.item.classList.remove("found");
    requestAnimationFrame(() => view.item.classList.add("found"));
  }

  /** Questions of this room that wait for an answer. */
  open() {
    return this.views.filter(({ item, message }) => !item.hidden && message.id && OPEN.has(message.state));
  }

  get isEmpty() {
    return !this.views.some(({ item }) => !item.hidden);
  }

  // --- the order ----------------------------------------------------------------------------------------------

  pendingWith(text) {
    for (const [key, view] of this.pending) if (view.message.text === text.trim()) return key;
    return null;
  }

  settle(key, message) {
    const view = this.pending.get(key);
    this.pending.delete(key);
    this.views.splice(this.views.indexOf(view), 1);
    view.message = message;
    this.place(view);
  }

  insert(view) {
    view.item.hidden = !this.isShown(view.message);
    this.place(view);
    this.drop();
  }

  /** Put a view where its id belongs: after all with a smaller one; what has none yet stays last. */
  place(view) {
    const { id } = view.message;
    let at = this.views.length;
    while (at > 0 && rankOf(this.views[at - 1]) > rankOf(view)) at -= 1;
    this.views.splice(at, 0, view);
    if (id) this.known.set(id, view);
    this.draw(view);
    const next = this.views[at + 1]?.item ?? null;
    if (view.item.parentNode !== this.list || view.item.nextSibling !== next) this.list.insertBefore(view.item, next);
    this.arrange(at, at + 1);
    this.onChange();
  }

  change(view, message) {
    view.message = message;
    this.draw(view);
    this.onChange();
  }

  draw(view) {
    drawView(view, this.known.get(view.message.reply_to)?.message);
  }

  remove(view) {
    const at = this.views.indexOf(view);
    if (at < 0) return;
    this.views.splice(at, 1);
    this.known.delete(view.message.id);
    view.item.remove();
    this.arrange(at, at);
    this.onChange();
  }

  drop() {
    if (this.views.length <= page.historyLimit) return;
    this.steadily(() => {
      while (this.views.length > page.historyLimit) this.remove(this.views[0]);
    });
  }

  isShown(message) {
    if (!this.isPrivate || isMine(message) || !message.id || message.private) return true;
    const question = this.known.get(message.reply_to)?.message;
    return question ? isMine(question) : message.to === page.user;
  }

  /** Put the views from `start` to just after `end` together with those before them, by author and day. */
  arrange(start, end) {
    let before = this.shownBefore(start);
    for (let at = start; at < this.views.length; at += 1) {
      const view = this.views[at];
      if (view.item.hidden) continue;
      const isNewDay = !before || dayOf(before.message) !== dayOf(view.message);
      markDay(view, isNewDay);
      view.item.classList.toggle("first", isNewDay || !areTogether(before.message, view.message));
      before = view;
      if (at >= end) break;
    }
  }

  shownBefore(start) {
    for (let at = start - 1; at >= 0; at -= 1) if (!this.views[at].item.hidden) return this.views[at];
    return null;
  }
}

/** By the id; what is on its way comes last, what never got there stays where it was then. */
const rankOf = ({ message, rank }) => message.id || rank || Infinity;

function areTogether(before, message) {
  const sameVoice = authorOf(before) === authorOf(message) && before.private === message.private;
  return sameVoice && message.time - before.time < TOGETHER_S;
}

function draftOf(text, isPrivate) {
  return {
    id: 0,
    seq: 0,
    time: Date.now() / 1000,
    room: page.room,
    role: "user",
    kind: "text",
    username: page.user,
    user_id: page.userId,
    message: text,
    text,
    lang: page.lang,
    state: "sending",
    note: "",
    reply_to: null,
    to: "",
    private: isPrivate,
    media: null,
  };
}
