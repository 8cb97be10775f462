// Who is here, who types, and whether the assistant thinks.

import { byId, dressAvatar, element, nameElement, page } from "./page.js";

const TYPING_MS = 12_000;
const THINKING_MS = 600_000;

export class People {
  constructor() {
    this.aside = byId("people");
    this.list = byId("people-list");
    this.button = byId("people-button");
    this.shown = "";
    this.button.hidden = false;
    this.aside.hidden = false;
    this.button.addEventListener("click", () => this.open(!this.isOpen));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.isOpen && this.open(false));
    document.addEventListener("click", (event) => {
      if (this.isOpen && !this.aside.contains(event.target) && !this.button.contains(event.target)) this.open(false);
    });
  }

  get isOpen() {
    return this.button.getAttribute("aria-expanded") === "true";
  }

  /** Matters only where the list has no place of its own beside the messages. */
  open(isOpen) {
    this.button.setAttribute("aria-expanded", String(isOpen));
    this.aside.classList.toggle("open", isOpen);
  }

  set(people) {
    const others = people.filter(({ user_id }) => !page.ownIds.has(user_id));
    const everybody = [{ user_id: page.userId, username: page.user }, ...others];
    const key = JSON.stringify(everybody);
    if (key === this.shown) return;
    this.shown = key;
    this.list.replaceChildren(...everybody.map(personElement));
    byId("people-count").textContent = String(everybody.length);
  }
}

function personElement({ user_id, username }) {
  const item = element("li");
  const avatar = element("span");
  dressAvatar(avatar, username, user_id);
  avatar.setAttribute("aria-hidden", "true");
  item.append(avatar, nameElement(username, "name"));
  if (user_id === page.userId) item.append(" ", element("span", "you", "you"));
  return item;
}

export class Activity {
  /** `open()` returns the views of questions that wait for an answer. */
  constructor(open) {
    this.open = open;
    this.typing = new Map();
    this.since = new WeakMap();
    this.isLinked = false;
    setInterval(() => this.show(), 2_000);
  }

  setLinked(isLinked) {
    this.isLinked = isLinked;
    this.show();
  }

  /** Nobody knows now what the others do. */
  clear() {
    this.typing.clear();
    this.setLinked(false);
  }

  /** Somebody types, or no more. */
  set(name, isTyping) {
    if (isTyping) this.typing.set(name, Date.now() + TYPING_MS);
    else this.typing.delete(name);
    this.show();
  }

  /** These names type, and nobody else. */
  setAll(names) {
    this.typing.clear();
    for (const name of names.filter((each) => each !== page.user)) this.typing.set(name, Date.now() + TYPING_MS);
    this.show();
  }

  show() {
    const now = Date.now();
    for (const [name, until] of this.typing) if (now > until) this.typing.delete(name);
    byId("typing").replaceChildren(...typingWords(Array.from(this.typing.keys())));
    byId("thinking").hidden = !(this.isLinked && this.open().some((view) => this.isRecent(view, now)));
  }

  isRecent(view, now) {
    if (!this.since.has(view)) this.since.set(view, now);
    return now - this.since.get(view) < THINKING_MS;
  }
}

function typingWords(names) {
  if (!names.length) return [];
  if (names.length > 3) return ["Several people are typing…"];
  const words = [];
  names.forEach((name, at) => {
    if (at) words.push(at === names.length - 1 ? " and " : ", ");
    words.push(nameElement(name, "typing-name"));
  });
  return [...words, names.length === 1 ? " is typing…" : " are typing…"];
}
