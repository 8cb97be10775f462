// Name, room, language, privacy and appearance.

import { byId, dressAvatar, page } from "./page.js";
import { remember, remembered } from "./storage.js";

/** What a segment of an address can not be. */
const UNFIT = /[/\\]|^\.{1,2}$/;
const UNFIT_WORDS = "This may not contain a slash, nor be only dots.";

export class Settings {
  constructor() {
    this.dialog = byId("settings");
    this.button = byId("settings-button");
    this.name = byId("set-name");
    this.room = byId("set-room");
    this.lang = byId("set-lang");
    this.tag = byId("set-tag");
    this.button.hidden = false;
    this.button.addEventListener("click", () => this.open());
    byId("settings-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.lang.addEventListener("change", () => this.fitLang());
    for (const field of [this.name, this.room]) field.addEventListener("input", () => checkSegment(field));
    byId("settings-form").addEventListener("submit", (event) => this.submit(event));
    this.showName();
    followTheme();
  }

  open() {
    this.name.value = page.user;
    this.room.value = page.room;
    this.dialog.showModal();
  }

  fitLang() {
    const isOther = this.lang.value === "other";
    byId("other-lang").hidden = !isOther;
    this.tag.required = isOther;
    if (isOther) this.tag.focus();
  }

  submit(event) {
    event.preventDefault();
    const lang = this.lang.value === "other" ? this.tag.value.trim() : this.lang.value;
    const segments = [this.name.value.trim(), this.room.value.trim(), lang];
    location.assign(roomUrl(segments));
  }

  /** The server knows this page under another name now. */
  showName() {
    byId("own-name").textContent = page.user;
    dressAvatar(byId("own-avatar"), page.user, page.userId);
    document.querySelector('#composer [name="username"]').value = page.user;
  }

  /** The assistant goes on in another language. */
  showLang(lang) {
    page.lang = lang;
    document.querySelector('#composer [name="lang"]').value = lang;
    if (!Array.from(this.lang.options).some(({ value }) => value === lang)) {
      this.spoken?.remove();
      this.spoken = new Option(lang, lang);
      this.lang.prepend(this.spoken);
    }
    this.lang.value = lang;
    this.fitLang();
    history.replaceState(null, "", roomUrl([page.user, page.room, lang]));
  }
}

function roomUrl(segments) {
  return `${page.base}chatroom/${segments.map(encodeURIComponent).join("/")}`;
}

function checkSegment(field) {
  const text = field.value.trim();
  const problem = text ? (UNFIT.test(text) ? UNFIT_WORDS : "") : "Please fill this in.";
  field.setCustomValidity(problem);
}

function followTheme() {
  for (const choice of document.querySelectorAll('[name="theme"]')) {
    choice.checked = choice.value === remembered("theme");
    choice.addEventListener("change", () => {
      remember("theme", choice.value);
      if (choice.value) document.documentElement.dataset.theme = choice.value;
      else delete document.documentElement.dataset.theme;
    });
  }
}

/** The switch for private messages; remembered for each name. `onChange(isPrivate)` follows it, at the start too. */
export class Privacy {
  constructor(onChange) {
    this.box = byId("private");
    this.key = `private:${page.user}`;
    if (!this.box) return;
    this.box.checked = remembered(this.key) === "yes";
    this.box.addEventListener("change", () => {
      remember(this.key, this.isOn ? "yes" : "");
      onChange(this.isOn);
    });
    onChange(this.isOn);
  }

  get isOn() {
    return this.box?.checked ?? false;
  }
}
