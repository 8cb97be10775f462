// How it stands with the chatroom and the hub: nothing to read as long as all is well.

import { byId, element, page } from "./page.js";

const PATIENCE_MS = 2_000;
const WORDS = {
  connected: "connected",
  connecting: "connecting",
  down: "hub is down",
  refused: "hub refuses",
};
const LOST = {
  state: "down",
  text: "The connection to the chatroom is lost; reconnecting.",
  cure: "What you type is kept.",
};
const CONNECTING = { state: "connecting", text: "Connecting to the hub…", cure: "" };

export class Banner {
  constructor() {
    this.banner = byId("banner");
    this.dot = byId("link-dot");
    this.word = byId("link-word");
    this.link = null;
    this.reach = "live";
    this.problem = null;
    this.timer = 0;
    this.shown = "";
  }

  setLink(link) {
    this.link = link;
    this.follow();
  }

  setReach(reach, problem = null) {
    this.reach = reach;
    this.problem = problem;
    this.follow();
  }

  follow() {
    const told = this.told();
    this.mark();
    clearTimeout(this.timer);
    const passesByItself = told === LOST || told?.state === "connecting";
    if (passesByItself && !this.shown) this.timer = setTimeout(() => this.show(told), PATIENCE_MS);
    else this.show(told);
  }

  told() {
    if (this.reach === "refused") {
      const { message, cure, status } = this.problem;
      return { state: "refused", text: message, cure, status };
    }
    if (this.reach === "lost") return LOST;
    if (!this.link || this.link.state === "connected") return null;
    return this.link.text ? this.link : CONNECTING;
  }

  mark() {
    const state = this.reach === "lost" || this.reach === "refused" ? "down" : (this.link?.state ?? "connecting");
    this.dot.hidden = false;
    this.dot.dataset.state = state;
    this.word.textContent = this.reach === "lost" ? "reconnecting" : (WORDS[state] ?? "");
  }

  show(told) {
    const key = told ? `${told.state} ${told.text} ${told.cure}` : "";
    if (key === this.shown) return;
    this.shown = key;
    this.banner.replaceChildren();
    this.banner.dataset.state = told?.state ?? "";
    if (!told) return;
    const words = element("p");
    words.append(element("strong", "", told.text), " ", element("span", "", told.cure ?? ""));
    this.banner.append(words);
    if (told.status === 401) this.banner.append(signInLink());
  }
}

/** Return a link to the sign-in page that leads back here. */
export function signInLink() {
  const link = element("a", "", "Sign in");
  link.href = `${page.base}login?${new URLSearchParams({ next: `/${location.pathname.slice(page.base.length)}` })}`;
  return link;
}
