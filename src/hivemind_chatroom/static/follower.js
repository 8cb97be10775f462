// Keeps the newest message in view, unless the reader has scrolled up; then it counts what is new.

import { byId } from "./page.js";

const NEAR_PX = 80;

const topOf = (shown) => shown.getBoundingClientRect().top;

export class Follower {
  constructor() {
    this.log = byId("log");
    this.list = byId("messages");
    this.button = byId("newest");
    this.isFollowing = true;
    this.top = 0;
    this.count = 0;
    this.log.addEventListener("scroll", () => this.look(), { passive: true });
    this.button.addEventListener("click", () => {
      this.toEnd();
      byId("message").focus();
    });
    const watch = new ResizeObserver(() => this.keep());
    watch.observe(this.log);
    watch.observe(this.list);
    this.toEnd();
  }

  toEnd() {
    this.isFollowing = true;
    this.keep();
    this.forget();
  }

  /** After anything changed its height. */
  keep() {
    if (!this.isFollowing) return;
    this.log.scrollTop = this.log.scrollHeight;
    this.top = this.log.scrollTop;
  }

  /** Make a change above what is read without moving that. */
  steady(change) {
    const edge = topOf(this.log);
    const read = this.isFollowing ? null : Array.from(this.list.children).find((item) => topOf(item) >= edge);
    const before = read ? topOf(read) : 0;
    change();
    if (read?.isConnected) this.log.scrollTop += topOf(read) - before;
  }

  /** Something new came in below. */
  add() {
    if (this.isFollowing) return;
    this.count += 1;
    this.button.textContent = this.count === 1 ? "1 new message" : `${this.count} new messages`;
    this.button.hidden = false;
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.log;
    // What came in since `keep` is no scrolling up: only the reader makes the position smaller.
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.isFollowing = true;
    else if (scrollTop < this.top - 1) this.isFollowing = false;
    if (this.isFollowing) this.forget();
  }

  forget() {
    this.count = 0;
    this.button.hidden = true;
  }
}
