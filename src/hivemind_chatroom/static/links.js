// Finds links in text. Only what `new URL` reads as http or https becomes one; all else stays text.

const CANDIDATE = /\bhttps?:\/\/[^\s<>"'`\u200b-\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const PAIRS = { ")": "(", "]": "[", "}": "{" };
const TAIL = ".,;:!?…";

/** Return the URL of a web address, or null; never of one that hides its host behind a user name. */
export function webUrl(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const isWeb = url.protocol === "https:" || url.protocol === "http:";
  return isWeb && url.hostname && !url.username && !url.password ? url : null;
}

/** Split text into parts: {text} and {text, url}. */
export function linkParts(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(CANDIDATE)) {
    const address = withoutTail(found[0]);
    const url = webUrl(address);
    if (!url) continue;
    if (found.index > end) parts.push({ text: text.slice(end, found.index) });
    parts.push({ text: address, url });
    end = found.index + address.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Leave the punctuation that follows an address to the sentence, and brackets that were opened before it. */
function withoutTail(address) {
  const left = Object.fromEntries(Array.from("()[]{}", (char) => [char, address.split(char).length - 1]));
  let end = address.length;
  while (end > 0) {
    const last = address[end - 1];
    const opening = PAIRS[last];
    if (opening ? left[opening] >= left[last] : !TAIL.includes(last)) break;
    if (opening) left[last] -= 1;
    end -= 1;
  }
  return address.slice(0, end);
}

export function linkElement(url, text) {
  const link = document.createElement("a");
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  link.textContent = text;
  return link;
}

/** Return what shows a text with its links, ready for `append`. */
export function textNodes(text) {
  return linkParts(text).map((part) => (part.url ? linkElement(part.url, part.text) : part.text));
}
