// The box one writes in. It is never disabled, and what is typed is never lost.

import { Problem, postJson } from "./api.js";
import { signInLink } from "./banner.js";
import { byId, element, icon, page } from "./page.js";
import { draft, keepDraft } from "./storage.js";

const TYPING_EVERY_MS = 3_000;
const TYPING_STOPS_MS = 4_000;
const COUNT_FROM = 0.8;
const CROSS = "m6 6 12 12M18 6 6 18";

const lengthOf = (text) => Array.from(text).length;

export class Composer {
  /** `list` shows what is sent; `isPrivate()` tells how; `onSent(message)` hears what the server made of it. */
  constructor({ list, isPrivate, onSending, onSent }) {
    Object.assign(this, { list, isPrivate, onSending, onSent });
    this.box = byId("message");
    this.grow = byId("grow");
    this.problem = byId("problem");
    this.counter = byId("counter");
    this.typingAt = 0;
    this.typingTimer = 0;
    this.problemTimer = 0;
    this.box.removeAttribute("maxlength");
    this.box.required = false;
    if (!this.box.value) this.box.value = draft();
    this.listen();
    this.fit();
  }

  listen() {
    this.box.addEventListener("input", () => {
      this.fit();
      this.type();
    });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("blur", () => this.stopTyping());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  key(event) {
    if (event.key === "Escape") this.clearProblem();
    if (event.key !== "Enter" || event.shiftKey || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.submit();
  }

  /** Write text into the box and go there. */
  put(text) {
    this.box.value = text;
    this.fit();
    this.box.focus();
  }

  // --- sending ------------------------------------------------------------------------------------------------

  submit() {
    const text = this.box.value;
    if (!text.trim()) {
      this.box.focus();
      return;
    }
    if (lengthOf(text) > page.maxLength) {
      const words = `The message is longer than ${page.maxLength} characters.`;
      this.showProblem(new Problem(words, "Shorten it, or send it in parts."));
      return;
    }
    this.box.value = "";
    this.fit();
    this.stopTyping();
    this.send(text, this.isPrivate());
    this.box.focus();
  }

  async send(text, isPrivate) {
    this.clearProblem();
    const key = this.list.add(text, isPrivate);
    this.onSending();
    try {
      const wish = { username: page.user, site_id: page.room, lang: page.lang, message: text };
      const message = await postJson("send_message", isPrivate ? { ...wish, private: true } : wish);
      this.list.confirm(key, message);
      this.onSent(message);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.takeBack(key, text, error);
    }
  }

  /** Put the text back; into the list where the box has another one by now. */
  takeBack(key, text, problem) {
    if (this.box.value.trim() === "") {
      this.list.withdraw(key);
      const hadFocus = document.activeElement === this.box;
      this.box.value = text;
      this.fit();
      if (hadFocus) this.box.setSelectionRange(text.length, text.length);
    } else {
      this.list.fail(key, `${problem.message} ${problem.cure}`.trim());
    }
    this.showProblem(problem);
  }

  // --- what is wrong ------------------------------------------------------------------------------------------

  showProblem(problem) {
    clearTimeout(this.problemTimer);
    const close = element("button", "quiet");
    close.type = "button";
    close.setAttribute("aria-label", "Dismiss");
    close.append(icon(CROSS));
    close.addEventListener("click", () => {
      this.clearProblem();
      this.box.focus();
    });
    const words = element("p");
    words.append(element("strong", "", problem.message), " ", problem.cure);
    if (problem.status === 401) words.append(" ", signInLink());
    this.problem.replaceChildren(words, close);
    if (problem.retryAfter) this.problemTimer = setTimeout(() => this.clearProblem(), problem.retryAfter * 1000);
  }

  clearProblem() {
    clearTimeout(this.problemTimer);
    this.problem.replaceChildren();
  }

  // --- typing -------------------------------------------------------------------------------------------------

  /** Make the box as high as its text, and count near the limit. */
  fit() {
    const text = this.box.value;
    this.grow.dataset.text = text;
    keepDraft(text);
    const length = text.length > page.maxLength * COUNT_FROM ? lengthOf(text) : 0;
    this.counter.textContent = length ? `${length} of ${page.maxLength}` : "";
    this.counter.classList.toggle("over", length > page.maxLength);
  }

  type() {
    clearTimeout(this.typingTimer);
    if (!this.box.value.trim() || this.isPrivate()) {
      this.stopTyping();
      return;
    }
    this.typingTimer = setTimeout(() => this.stopTyping(), TYPING_STOPS_MS);
    if (Date.now() - this.typingAt < TYPING_EVERY_MS) return;
    this.typingAt = Date.now();
    tellTyping(true);
  }

  stopTyping() {
    clearTimeout(this.typingTimer);
    if (!this.typingAt) return;
    this.typingAt = 0;
    tellTyping(false);
  }
}

function tellTyping(typing) {
  // Nobody needs to know when this fails.
  postJson("typing", { username: page.user, site_id: page.room, typing }).catch(() => {});
}
