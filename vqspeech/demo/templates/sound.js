// <vq-sound src name samples [playing]>: a sound that can be heard while it is made. Its wav file grows as it comes: samples are
// played as they arrive, and when all are there the browser's own player takes over, from the same bytes. What is shown lies
// in a shadow tree, because the page is patched in place when it changes.
const soundShadow = document.createElement("template");
soundShadow.innerHTML = `
<style>
  figure { margin: 0; }
  figcaption { margin-bottom: .3rem; overflow-wrap: anywhere; }
  audio { width: 100%; display: block; }
  .making { display: flex; gap: .6rem; align-items: center; min-height: 3.4rem; }
  button { font: inherit; padding: .4rem .9rem; min-width: 5rem; border: 1px solid var(--edge); border-radius: .3rem;
    background: var(--ground); color: var(--ink); cursor: pointer; }
  :is(button, audio):focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
  progress { flex: 1; min-width: 4rem; accent-color: var(--link); }
  [hidden] { display: none; }
</style>
<figure><figcaption></figcaption>
<audio controls hidden></audio>
<div class="making"><button type="button">Hear</button><progress value="0"></progress><span hidden>Stopped before it was whole.</span></div>
</figure>`;

class VqSound extends HTMLElement {
  static observedAttributes = ["src"];
  static contexts = {};

  constructor() {
    super();
    const shadow = this.attachShadow({ mode: "open" });
    shadow.append(soundShadow.content.cloneNode(true));
    for (const part of ["figcaption", "audio", "button", "progress", "span"]) this[part] = shadow.querySelector(part);
    this.making = shadow.querySelector(".making");
    this.button.addEventListener("click", () => (this.live ? this.stop() : this.listen()));
    this.audio.addEventListener("play", () => VqSound.quiet(this));
  }

  connectedCallback() {
    this.open();
  }

  attributeChangedCallback(_, before) {
    if (before !== null && this.isConnected) this.open();
  }

  disconnectedCallback() {
    this.close();
  }

  // Begin with what the attributes name now.
  open() {
    this.close();
    const name = this.getAttribute("name");
    this.figcaption.textContent = name;
    this.audio.setAttribute("aria-label", name);
    this.button.setAttribute("aria-label", `Hear ${name} while it is made, or stop`);
    this.progress.setAttribute("aria-label", `${name}: made so far`);
    this.progress.max = Number(this.getAttribute("samples"));
    this.progress.value = 0;
    this.audio.hidden = this.span.hidden = true;
    this.making.hidden = this.progress.hidden = this.button.hidden = false;
    this.rate = undefined;
    this.waiting = [];
    this.sources = new Set();
    this.complete = this.live = false;
    this.state = "waiting";
    const abort = (this.abort = new AbortController());
    if (this.hasAttribute("playing")) this.listen();
    this.load(abort.signal).catch(() => {
      if (abort.signal.aborted) return;
      this.state = "failed";
      this.progress.hidden = this.button.hidden = true;
      this.span.hidden = false;
    });
  }

  close() {
    this.abort?.abort();
    if (this.sources) this.stop();
    if (this.audio.src) URL.revokeObjectURL(this.audio.src);
    this.audio.removeAttribute("src");
  }

  async load(signal) {
    const response = await fetch(this.getAttribute("src"), { signal });
    if (!response.ok) throw new Error(response.statusText);
    const parts = [];
    let [rest, made] = [new Uint8Array(0), 0];
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) break;
      parts.push(value);
      const bytes = new Uint8Array(rest.length + value.length);
      bytes.set(rest);
      bytes.set(value, rest.length);
      rest = bytes;
      let start = 0;
      if (!this.rate) {
        if (bytes.length < 44) continue;
        this.rate = new DataView(bytes.buffer).getUint32(24, true);
        start = 44;
      }
      const whole = (bytes.length - start) >> 1;
      rest = bytes.slice(start + 2 * whole);
      if (!whole) continue;
      const pcm = new DataView(bytes.buffer, start, 2 * whole);
      this.waiting.push(Float32Array.from({ length: whole }, (_, i) => pcm.getInt16(2 * i, true) / 32768));
      made += whole;
      this.progress.value = made;
      this.schedule();
    }
    if (made < this.progress.max) throw new Error("incomplete");
    this.complete = true;
    this.audio.src = URL.createObjectURL(new Blob(parts, { type: "audio/wav" }));
    this.audio.hidden = false;
    this.progress.hidden = true;
    if (this.live) this.schedule();
    else this.stop();
  }

  listen() {
    VqSound.quiet(this);
    this.live = true;
    this.button.textContent = "Stop";
    this.schedule();
  }

  // At the sound's own rate, so that samples of neighbouring blocks stay neighbours.
  schedule() {
    if (!this.live || !this.rate) return;
    const context = (VqSound.contexts[this.rate] ??= new AudioContext({ sampleRate: this.rate }));
    context.resume();
    for (const wav of this.waiting.splice(0)) {
      const buffer = context.createBuffer(1, wav.length, this.rate);
      buffer.copyToChannel(wav, 0);
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(context.destination);
      // Where samples come too late, half a second is saved up before it goes on.
      if (!this.next) this.next = context.currentTime + 0.05;
      else if (this.next < context.currentTime) this.next = context.currentTime + (this.complete ? 0 : 0.5);
      if (!this.first) {
        this.first = this.next;
        this.begin(context);
      }
      source.start(this.next);
      this.next += buffer.duration;
      this.sources.add(source);
      source.addEventListener("ended", () => {
        this.sources.delete(source);
        if (this.complete && this.live && !this.sources.size) this.stop();
      });
    }
    if (this.complete && !this.sources.size) this.stop();
  }

  // The clock of the context runs only while sound is put out.
  begin(context) {
    if (!this.live || this.state !== "waiting") return;
    if (context.currentTime > this.first) this.state = "playing";
    else setTimeout(() => this.begin(context), 10);
  }

  stop() {
    this.live = false;
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.next = this.first = undefined;
    this.button.textContent = "Hear";
    if (this.complete) {
      this.making.hidden = true;
      this.state = "made";
    }
  }

  static quiet(but) {
    for (const sound of document.querySelectorAll("vq-sound")) {
      if (sound === but) continue;
      sound.audio.pause();
      if (sound.live) sound.stop();
    }
    if (but.live) but.stop();
  }
}
customElements.define("vq-sound", VqSound);
