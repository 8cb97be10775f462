// How one message looks. A message is drawn once; later changes touch only the parts that differ.

import { embedOfText, mediaCard } from "./media.js";
import { textNodes } from "./links.js";
import { dressAvatar, element, icon, nameElement, page } from "./page.js";

const STATES = {
  sending: ["Sending…", "M12 7v5l3 2M12 3a9 9 0 1 1-9 9 9 9 0 0 1 9-9Z"],
  sent: ["Sent", "m5 12 5 5 9-10"],
  answered: ["Answered", "m2 12 5 5 8-10m-3 9 1 1 8-10"],
  denied: ["Not allowed", "M12 3a9 9 0 1 1-9 9 9 9 0 0 1 9-9ZM6 6l12 12"],
  failed: ["Failed", "M12 8v5m0 3v.1M12 3a9 9 0 1 1-9 9 9 9 0 0 1 9-9Z"],
};
const BADGES = {
  announcement: "Announcement",
  assistant: "Assistant",
};
const HEXAGON = "M12 2.5l8.5 4.7v9.6L12 21.5l-8.5-4.7V7.2Z";
const LOCK = "M7 11V8a5 5 0 0 1 10 0v3M5 11h14v9H5Z";
const REPLY = "m9 6-5 5 5 5m-5-5h9a7 7 0 0 1 7 7";
const SNIPPET = 80;

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dayLong = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const languageNames = Intl.DisplayNames && new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

export const isMine = (message) => message.role === "user" && page.ownIds.has(message.user_id);

/** Who speaks, to put the lines of one author together. */
export const authorOf = ({ role, kind, user_id, username }) =>
  kind === "announcement" ? kind : `${role} ${user_id} ${username}`;

export function dayOf(message) {
  return new Date(message.time * 1000).toDateString();
}

/** Make the element of a message; `actions` has jump(id) and again(view). */
export function makeView(message, actions) {
  const item = element("li");
  const view = { item, message, shown: {}, actions };
  const body = element("div", "body");
  view.avatar = makeAvatar(message);
  view.bubble = element("div", "bubble");
  view.state = element("div", "state");
  body.append(makeHead(message), view.bubble, view.state);
  item.append(view.avatar, body);
  return view;
}

/** Bring the element up to date with `view.message`; `question` is the one it answers, if that is known. */
export function drawView(view, question) {
  const { message, item } = view;
  const mine = isMine(message);
  item.classList.add("message", `role-${message.role}`, `kind-${message.kind}`);
  item.classList.toggle("mine", mine);
  if (message.id) item.id = `m${message.id}`;
  item.dataset.state = message.state;
  const said = [message.message, message.media, message.lang, message.reply_to, question?.text];
  redraw(view, "bubble", said, () => drawBubble(view, question));
  redraw(view, "state", [mine, message.state, message.note, view.wasSentAgain], () => drawState(view, mine));
}

function redraw(view, part, facts, draw) {
  const key = JSON.stringify(facts);
  if (view.shown[part] === key) return;
  view.shown[part] = key;
  draw();
}

function makeAvatar(message) {
  const avatar = element("span", "avatar");
  avatar.setAttribute("aria-hidden", "true");
  if (message.role === "user") {
    dressAvatar(avatar, message.username, message.user_id);
  } else {
    avatar.className = "avatar bot";
    avatar.append(icon(HEXAGON));
  }
  return avatar;
}

function makeHead(message) {
  const head = element("p", "who");
  head.append(nameElement(message.username, "name"));
  const badge = BADGES[message.kind] ?? BADGES[message.role];
  if (badge) head.append(" ", element("span", "badge", badge));
  const time = element("time", "time", clock.format(message.time * 1000));
  const when = new Date(message.time * 1000);
  time.dateTime = when.toISOString();
  time.title = full.format(when);
  head.append(" ", time);
  if (message.private) head.append(" ", lockMark());
  return head;
}

function lockMark() {
  const mark = element("span", "lock");
  mark.append(icon(LOCK), element("span", "for-readers", "private"));
  mark.title = "Only you see this";
  return mark;
}

function drawBubble(view, question) {
  const { message, bubble } = view;
  bubble.replaceChildren();
  if (message.reply_to) bubble.append(quoteOf(view, question));
  const text = element("p", "text");
  text.dir = "auto";
  const tag = knownTag(message.lang);
  if (tag) text.lang = tag;
  text.append(...wordsOf(message));
  bubble.append(text);
  const extra = message.media ? mediaCard(message.media) : embedOfText(message.message);
  if (extra) bubble.append(extra);
}

/** The text, with who is addressed set apart. A media card says itself what the text would. */
function wordsOf(message) {
  const to = `@${message.to} - `;
  const addressed = message.to !== "" && message.message.startsWith(to);
  const rest = addressed ? message.message.slice(to.length) : message.message;
  const words = hasCardText(message) ? [] : [addressed ? " - " : "", ...textNodes(rest)];
  return addressed ? [element("span", "mention", `@${message.to}`), ...words] : words;
}

function hasCardText({ media }) {
  return Boolean(media && (media.title || media.uri));
}

function quoteOf(view, question) {
  const quote = element("a", "quote");
  quote.href = `#m${view.message.reply_to}`;
  quote.append(icon(REPLY), element("span", "for-readers", "Answers "));
  if (question) {
    quote.append(nameElement(question.username, "quoted-name"), " ", snippetOf(question.text));
  } else {
    quote.append(element("span", "quoted-text", "an earlier message"));
  }
  quote.addEventListener("click", (event) => {
    event.preventDefault();
    view.actions.jump(view.message.reply_to);
  });
  return quote;
}

function snippetOf(text) {
  const chars = Array.from(text.replace(/\s+/g, " ").trim());
  const short = chars.length > SNIPPET ? `${chars.slice(0, SNIPPET).join("")}…` : chars.join("");
  const snippet = element("span", "quoted-text", short);
  snippet.dir = "auto";
  return snippet;
}

function drawState(view, mine) {
  const { message, state } = view;
  state.replaceChildren();
  const row = STATES[message.state];
  state.hidden = !mine || !row;
  if (state.hidden) return;
  const word = element("span", "state-word");
  word.append(icon(row[1]), row[0]);
  state.append(word);
  if (message.note) state.append(element("span", "note", message.note));
  if ((message.state === "failed" || message.state === "denied") && !view.wasSentAgain) {
    const again = element("button", "again", "Send again");
    again.type = "button";
    again.addEventListener("click", () => view.actions.again(view));
    state.append(again);
  }
}

function knownTag(tag) {
  try {
    return tag && languageNames?.of(tag) ? Intl.getCanonicalLocales(tag)[0] : "";
  } catch {
    return "";
  }
}

/** Put a heading with the day before a message, or take it away. */
export function markDay(view, isNewDay) {
  view.day?.remove();
  view.day = null;
  if (!isNewDay) return;
  const today = new Date();
  const day = dayOf(view.message);
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  const words = { [today.toDateString()]: "Today", [yesterday.toDateString()]: "Yesterday" };
  view.day = element("p", "day");
  view.day.append(element("span", "", words[day] ?? dayLong.format(view.message.time * 1000)));
  view.item.prepend(view.day);
}
