// The WebSocket: shows the token, asks, waits for replies, and connects again when it is lost.

import { unpack } from "./wire.js";

const FIRST_DELAY = 500;
const LONGEST_DELAY = 5000;
const REPLY_TIMEOUT = 40000;
const PING_PERIOD = 3000;

export class Refused extends Error {}

/** Tells listeners of: `open`, `lost` {reason, isRefused}, `frame`, and every text message's type. */
export class Connection extends EventTarget {
  constructor() {
    super();
    this.token = "";
    this.roundTrip = 0; // milliseconds
    this.bytes = 0; // received since the page was loaded
    this.socket = null;
    this.delay = FIRST_DELAY;
    this.waiting = new Map(); // replies, by the numbers of their requests
    this.number = 0;
    this.isWelcome = false;
    this.timer = 0;
    setInterval(() => this.ping(), PING_PERIOD);
  }

  open(token) {
    this.token = token;
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => this.send({ type: "hello", token });
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => this.lose(event);
  }

  lose(event) {
    const wasWelcome = this.isWelcome;
    this.isWelcome = false;
    this.socket = null;
    for (const one of this.waiting.values()) one.reject(new Refused("the connection was lost"));
    this.waiting.clear();
    const isRefused = event.code === 1008 && !wasWelcome;
    const reason = event.reason || (wasWelcome ? "connection lost" : "no answer");
    this.tell("lost", { reason, isRefused });
    if (isRefused) return; // the same token will not be better the next time
    this.timer = setTimeout(() => this.open(this.token), this.delay);
    this.delay = Math.min(LONGEST_DELAY, this.delay * 1.6);
  }

  take(data) {
    if (typeof data === "string") {
      this.bytes += data.length;
      const message = JSON.parse(data);
      if (message.type === "welcome") {
        this.isWelcome = true;
        this.delay = FIRST_DELAY;
      }
      if (message.type === "reply" || message.type === "pong") this.settle(message, message);
      else this.tell(message.type, message);
      return;
    }
    this.bytes += data.byteLength;
    const message = unpack(data);
    if (message.header.type === "frame") this.tell("frame", { ...message, received: performance.now() });
    else if (message.header.type === "progress") this.waiting.get(message.header.id)?.onProgress(message);
    else this.settle(message.header, message);
  }

  settle(header, result) {
    const one = this.waiting.get(header.id);
    if (one === undefined) {
      if (header.ok === false) this.tell("trouble", { message: header.message });
      return;
    }
    this.waiting.delete(header.id);
    clearTimeout(one.timer);
    if (header.ok === false) one.reject(new Refused(header.message));
    else one.resolve(result);
  }

  /**
   * Asks for something; resolves with the reply, rejects with Refused and its reason.
   * `onProgress` is called with what is told meanwhile.
   */
  ask(type, values = {}, timeout = REPLY_TIMEOUT, onProgress = () => {}) {
    const id = ++this.number;
    const promise = new Promise((resolve, reject) => {
      if (!this.isWelcome) {
        reject(new Refused("not connected"));
        return;
      }
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new Refused(`no reply to '${type}' within ${timeout / 1000} s`));
      }, timeout);
      this.waiting.set(id, { resolve, reject, timer, onProgress });
      this.send({ ...values, type, id });
    });
    promise.number = id;
    return promise;
  }

  send(message) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  async ping() {
    if (!this.isWelcome) return;
    const started = performance.now();
    try {
      await this.ask("ping", {}, 10000);
      this.roundTrip = performance.now() - started;
    } catch {
      // the socket tells when it is lost
    }
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
