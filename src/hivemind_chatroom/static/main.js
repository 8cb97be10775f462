// Puts the page together.

import { Banner } from "./banner.js";
import { Composer } from "./composer.js";
import { Follower } from "./follower.js";
import { MessageList } from "./messages.js";
import { byId, page } from "./page.js";
import { Activity, People } from "./people.js";
import { Privacy, Settings } from "./settings.js";
import { Live } from "./stream.js";
import { isMine } from "./view.js";

const CALM_MS = 1_000;

document.documentElement.classList.remove("no-js");

const log = byId("log");
let calmTimer = 0;
let unread = 0;

/** Old messages are not read out one by one. */
function calmly(show) {
  log.setAttribute("aria-live", "off");
  show();
  clearTimeout(calmTimer);
  calmTimer = setTimeout(() => log.setAttribute("aria-live", "polite"), CALM_MS);
}

const banner = new Banner();
const people = new People();
const settings = new Settings();
const list = new MessageList({
  onAgain: (text, isPrivate) => composer.send(text, isPrivate),
  onChange: () => changed(),
  steadily: (change) => follower.steady(change),
});
const activity = new Activity(() => list.open());

function changed() {
  byId("empty").hidden = !list.isEmpty;
  activity.show();
}

function count() {
  document.title = unread ? `(${unread}) ${page.title}` : page.title;
}

function received(message) {
  if (!list.upsert(message) || isMine(message)) return;
  if (list.known.get(message.id)?.item.hidden) return;
  follower.add();
  if (!document.hidden) return;
  unread += 1;
  count();
}

function renamed(message) {
  if (message.username === page.user) return;
  page.user = message.username;
  page.userId = message.user_id;
  settings.showName();
}

function linked(link) {
  banner.setLink(link);
  activity.setLinked(link.state === "connected");
}

const follower = new Follower();
const composer = new Composer({
  list,
  isPrivate: () => privacy.isOn,
  onSending: () => follower.toEnd(),
  onSent: (message) => {
    renamed(message);
    live.expect(message.seq);
  },
});
calmly(() => list.adopt());
const privacy = new Privacy((isPrivate) => {
  calmly(() => list.showOnlyMine(isPrivate));
  follower.toEnd();
});
follower.toEnd();

const live = new Live(list.newest, {
  reach: (state, problem) => {
    banner.setReach(state, problem);
    if (state === "lost" || state === "refused") activity.clear();
  },
  hello: (status) => {
    linked(status.link);
    people.set(status.people);
    activity.setAll(status.typing ?? []);
  },
  message: received,
  link: linked,
  people: (everybody) => people.set(everybody),
  typing: ({ user_id, username, typing }) => {
    if (!page.ownIds.has(user_id)) activity.set(username, typing);
  },
  you: ({ user_id, lang }) => {
    if (user_id === page.userId) settings.showLang(lang);
  },
  reset: () => calmly(() => list.reset()),
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  count();
});

byId("starters").hidden = !page.lang.toLowerCase().startsWith("en");
byId("starters").addEventListener("click", (event) => {
  if (event.target.matches("button")) composer.put(event.target.textContent);
});

// On a phone this would open the keyboard over the conversation.
if (matchMedia("(pointer: fine)").matches) byId("message").focus();
