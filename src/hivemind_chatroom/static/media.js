// Media as cards: title, artist, link. Pictures, sound and videos of other hosts are shown only when the chatroom's
// owner switched embeds on; the content security policy says the same.

import { linkElement, linkParts, webUrl } from "./links.js";
import { element, icon, page } from "./page.js";

const NOTE = "M9 18V6l10-2v12M9 18a3 3 0 1 1-3-3 3 3 0 0 1 3 3Zm10-2a3 3 0 1 1-3-3 3 3 0 0 1 3 3Z";
const BY_SUFFIX = [
  [/\.(png|jpe?g|gif|bmp|webp|avif)$/i, pictureElement],
  [/\.(mp3|ogg|oga|opus|flac|wav|m4a|aac)$/i, (url) => playerElement("audio", url)],
  [/\.(mp4|m4v|webm|ogv|mov)$/i, (url) => playerElement("video", url)],
];
const YOUTUBE = new Set([
  "youtube.com",
  "www.youtube.com",
  "m.youtube.com",
  "music.youtube.com",
  "youtu.be",
  "www.youtube-nocookie.com",
]);
const VIDEO_ID = /^[A-Za-z0-9_-]{11}$/;

/** Return the id of a YouTube video, or "". */
export function youtubeId(url) {
  if (!YOUTUBE.has(url.hostname)) return "";
  const path = url.pathname.split("/").filter(Boolean);
  const named = url.hostname === "youtu.be" ? path[0] : url.searchParams.get("v");
  const id = named ?? (["embed", "shorts", "live", "v"].includes(path[0]) ? path[1] : "");
  return VIDEO_ID.test(id ?? "") ? id : "";
}

/** Return what plays or shows an address in the page, or null. */
function embedElement(url) {
  if (!page.embeds || url.protocol !== "https:") return null;
  const video = youtubeId(url);
  if (video) return youtubeElement(video);
  const row = BY_SUFFIX.find(([suffix]) => suffix.test(url.pathname));
  return row ? row[1](url) : null;
}

/** Return the embed of the first link in a text that has one, or null. */
export function embedOfText(text) {
  for (const { url } of linkParts(text)) {
    const embed = url ? embedElement(url) : null;
    if (embed) return embed;
  }
  return null;
}

/** Return the card of a message's `media`. */
export function mediaCard({ title, artist, uri, image }) {
  const card = element("div", "card");
  const url = webUrl(uri);
  card.append(cover(image));
  const about = element("div", "card-text");
  const name = title || url?.hostname || uri || "Media";
  const titled = url ? linkElement(url, name) : element("span", "", name);
  titled.classList.add("card-title");
  titled.dir = "auto";
  about.append(titled);
  if (artist) about.append(dirAuto(element("span", "card-artist", artist)));
  const where = url ? url.hostname : uri;
  if (where && where !== name) about.append(element("span", "card-host", where));
  card.append(about);
  const embed = url ? embedElement(url) : null;
  if (embed) card.append(embed);
  return card;
}

function cover(image) {
  const url = page.embeds ? webUrl(image) : null;
  if (url?.protocol === "https:") {
    const picture = pictureElement(url);
    picture.className = "cover";
    picture.alt = "";
    return picture;
  }
  const drawn = element("span", "cover drawn");
  drawn.append(icon(NOTE));
  return drawn;
}

function dirAuto(made) {
  made.dir = "auto";
  return made;
}

function pictureElement(url) {
  const picture = element("img", "embed");
  picture.loading = "lazy";
  picture.referrerPolicy = "no-referrer";
  picture.alt = `Picture from ${url.hostname}`;
  picture.addEventListener("error", () => picture.remove(), { once: true });
  picture.src = url.href;
  return picture;
}

function playerElement(kind, url) {
  const player = element(kind, "embed");
  player.controls = true;
  player.preload = "metadata";
  player.setAttribute("aria-label", `Player for ${url.hostname}`);
  player.src = url.href;
  return player;
}

function youtubeElement(id) {
  const frame = element("iframe", "embed youtube");
  frame.title = "YouTube video";
  frame.loading = "lazy";
  frame.allow = "encrypted-media; picture-in-picture; fullscreen";
  // YouTube plays nothing for a page that does not say where it is.
  frame.referrerPolicy = "strict-origin-when-cross-origin";
  frame.src = `https://www.youtube-nocookie.com/embed/${id}`;
  return frame;
}
