// What the server says about this page, from the attributes of <body>.

const facts = document.body.dataset;

export const page = {
  base: facts.base,
  room: facts.room,
  user: facts.user,
  userId: facts.userId,
  lang: facts.lang,
  bot: facts.bot,
  maxLength: Number(facts.maxLength) || 2000,
  embeds: facts.embeds === "yes",
  privacy: facts.private,
  historyLimit: Number(facts.historyLimit) || 500,
  title: document.title,
  /** Ids under which this page has spoken; another browser may hold the name by now. */
  ownIds: new Set([facts.userId]),
};

export const byId = (id) => document.getElementById(id);

/** Make an element; text stays text. */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** A name in running text, whatever direction it is written in. */
export function nameElement(name, className = "") {
  return element("bdi", className, name);
}

const SVG = "http://www.w3.org/2000/svg";

/** A line drawing, 24 by 24. */
export function icon(path, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

const HUES = 10;

/** Show whose it is: a letter in a colour that stays the same for the same person. */
export function dressAvatar(avatar, name, key) {
  let sum = 7;
  for (const char of key || name) sum = (sum * 31 + char.codePointAt(0)) % 65521;
  avatar.className = `avatar hue-${sum % HUES}`;
  avatar.textContent = (Array.from(name.trim())[0] ?? "?").toUpperCase();
}
