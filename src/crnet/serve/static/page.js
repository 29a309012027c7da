// The page: sends a video, follows its job, shows its result. Runs without a build step.
const CHUNK_BYTES = 1 << 20;
const MAX_RETRIES = 5;
const RETRY_MS = 500;

class NetworkError extends Error {}
class BusyError extends Error {} // the server asks to wait; waitMs says how long

async function call(method, path, { body, headers = {}, signal } = {}) {
  const isFile = body instanceof Blob;
  const kind = isFile ? "application/octet-stream" : "application/json";
  const options = { method, signal, headers: body === undefined ? headers : { ...headers, "Content-Type": kind } };
  if (body !== undefined) options.body = isFile ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NetworkError("The server cannot be reached. Check your connection and try again.");
  }
  if (response.status === 401) location.reload(); // the session has ended: the page asks for the key
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let text = `The server answered with status ${response.status}.`;
  try {
    const { detail } = await response.json();
    text = detail[0].toUpperCase() + detail.slice(1) + ".";
  } catch {
    // a proxy answered, not the server
  }
  if (response.status !== 429) return new Error(text);
  return Object.assign(new BusyError(text), { waitMs: 1000 * (Number(response.headers.get("Retry-After")) || 1) });
}

const callJson = async (...request) => (await call(...request)).json();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Send a file in chunks. After a broken connection, go on where it broke.
async function upload(file, signal, onStart, onProgress) {
  const { id } = await callJson("POST", "/v1/uploads", { body: { name: file.name, size: file.size }, signal });
  onStart(id);
  for (let offset = 0, retries = 0; offset < file.size; onProgress(offset / file.size)) {
    try {
      const body = file.slice(offset, offset + CHUNK_BYTES);
      const headers = { "Upload-Offset": String(offset) };
      ({ offset } = await callJson("PATCH", `/v1/uploads/${id}`, { body, headers, signal }));
      retries = 0;
    } catch (error) {
      const canRetry = error instanceof NetworkError || error instanceof BusyError;
      if (!canRetry || ++retries > MAX_RETRIES) throw error;
      await sleep(error.waitMs ?? RETRY_MS * 2 ** retries);
      ({ offset } = await callJson("GET", `/v1/uploads/${id}`, { signal }).catch(() => ({ offset })));
    }
  }
  return id;
}

// The form, the progress and the result of one video.
class Panel {
  constructor(root) {
    this.root = root;
    this.key = root.dataset.panel;
    this.form = this.find("form");
    this.preview = this.find(".preview");
    this.preview.addEventListener("error", () => this.hidePreview());
    this.find("[type=file]").addEventListener("change", (event) => this.choose(event.target.files[0]));
    this.find("[data-record]").addEventListener("click", () => this.record());
    this.find("[data-cancel]").addEventListener("click", () => this.cancel());
    this.find("[data-delete]").addEventListener("click", () => this.delete());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    this.enableDrop(this.find(".drop"));
    this.find("fieldset").disabled = false;
    this.restore();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  enableDrop(area) {
    for (const kind of ["dragover", "dragleave", "drop"]) {
      area.addEventListener(kind, (event) => {
        event.preventDefault();
        area.classList.toggle("over", kind === "dragover");
        if (kind === "drop") this.choose(event.dataTransfer.files[0]);
      });
    }
  }

  // A new video replaces the old one and clears its result.
  choose(file) {
    if (!file || this.recorder) return;
    this.leave();
    this.clear();
    if (file.size > Number(this.root.dataset.maxBytes)) {
      this.fail(`The file is larger than ${this.root.dataset.maxMb} MB. Send a smaller file.`);
      return;
    }
    this.file = file;
    URL.revokeObjectURL(this.preview.src);
    this.preview.srcObject = null;
    this.preview.src = URL.createObjectURL(file);
    this.preview.hidden = false;
    this.hint(file.name);
  }

  // Browsers cannot play every video that the server can read.
  hidePreview() {
    if (!this.preview.hasAttribute("src") || !this.file) return;
    this.preview.hidden = true;
    this.hint(`${this.file.name} (this browser cannot show it)`);
  }

  hint(text) {
    this.find("[data-hint]").textContent = text;
  }

  async record() {
    if (this.recorder) {
      this.recorder.stop();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    } catch {
      this.fail("The camera or the microphone cannot be used. Browsers allow it only on localhost and over HTTPS, and only if you agree.");
      return;
    }
    this.leave();
    this.clear();
    const chunks = [];
    this.recorder = new MediaRecorder(stream);
    this.recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
    this.recorder.addEventListener("stop", () => {
      clearTimeout(timer);
      stream.getTracks().forEach((track) => track.stop());
      this.recorder = null;
      this.setRecording(false);
      this.choose(new File(chunks, "recording.webm", { type: chunks[0]?.type }));
    });
    this.recorder.start(1000);
    const timer = setTimeout(() => this.recorder?.stop(), 1000 * Number(this.root.dataset.maxSeconds) - 1000);
    this.preview.srcObject = stream;
    this.preview.hidden = false;
    this.preview.play();
    this.setRecording(true);
    this.say("Recording. Look at the camera and talk.");
  }

  setRecording(isRecording) {
    this.find("[data-record]").textContent = isRecording ? "Stop recording" : "Record";
    this.find("[type=submit]").disabled = isRecording;
    this.find("[type=file]").disabled = isRecording;
    this.find("[type=file]").parentElement.hidden = isRecording;
    this.hint("");
  }

  async run() {
    if (!this.file) {
      this.fail("No video yet. Choose or record one.");
      return;
    }
    this.leave();
    this.clear();
    this.abort = new AbortController();
    this.setBusy(true);
    const { signal } = this.abort;
    const { transcript, explain } = this.form.elements;
    try {
      this.say("Sending the video.");
      const onStart = (id) => (this.uploadId = id);
      const id = await upload(this.file, signal, onStart, (share) => this.setPhase("upload", share));
      const body = { upload: id, transcript: transcript.value, explain: explain.checked };
      const job = await callJson("POST", "/v1/jobs", { body, signal });
      this.uploadId = null;
      this.follow(job, true);
    } catch (error) {
      this.forgetUpload();
      if (!signal.aborted) this.fail(error.message);
      this.setBusy(false);
    }
  }

  // Follow a job until it ends.
  follow(job, isNew) {
    this.jobId = job.id;
    this.isNew = isNew;
    this.setBusy(true);
    this.setPhase("upload", 1);
    rememberJob(this.key, job.id);
    this.show(job);
    this.listen(job.id);
  }

  listen(id) {
    const events = (this.events = new EventSource(`/v1/jobs/${id}/events`));
    events.addEventListener("job", (event) => this.show(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      if (events !== this.events) return;
      this.say("The connection is lost. Trying again.");
      if (events.readyState === EventSource.CLOSED) this.listenAgain(id); // the server refused
    });
  }

  // The server refuses events of a job that it no longer has, and when too many clients ask.
  async listenAgain(id) {
    try {
      const job = await callJson("GET", `/v1/jobs/${id}`);
      if (id !== this.jobId) return;
      this.show(job);
      if (this.events) setTimeout(() => id === this.jobId && this.events && this.listen(id), 10 * RETRY_MS);
    } catch (error) {
      if (id !== this.jobId) return;
      if (error instanceof NetworkError || error instanceof BusyError) {
        setTimeout(() => id === this.jobId && this.listenAgain(id), error.waitMs ?? 10 * RETRY_MS);
        return;
      }
      this.events = null;
      this.leave();
      this.fail(error.message);
    }
  }

  show(job) {
    if (job.id !== this.jobId) return;
    const isFinal = ["done", "failed", "cancelled"].includes(job.state);
    this.find('[data-phase="explanation"]').hidden = !job.explain;
    const explaining = job.has_scores && !isFinal;
    this.setPhase("scores", job.progress.scores, explaining || isFinal ? "" : job.progress.task);
    this.setPhase("explanation", job.progress.explanation, explaining ? job.progress.task : "");
    if (job.has_scores) this.showScores(job.id);
    if (job.state === "done" && job.explain) this.showPart("explanation", job.id);
    if (job.error) this.fail(`Not ${job.has_scores ? "explained" : "scored"}: ${job.error}.`);
    else this.say(stateText(job));
    if (!isFinal) return;
    this.events?.close();
    this.events = null;
    this.setBusy(false);
    this.find("[data-phases]").hidden = true;
    this.find("[data-delete]").hidden = !job.has_scores;
  }

  async showScores(id) {
    if (this.shown.has("scores")) return;
    await this.showPart("scores", id);
    if (this.isNew && !comparison) this.find(".outcome").scrollIntoView({ block: "start" });
    this.root.dispatchEvent(new Event("scores", { bubbles: true }));
  }

  // Insert a part of the result, once.
  async showPart(part, id) {
    if (this.shown.has(part)) return;
    this.shown.add(part);
    const html = await (await call("GET", `/fragments/jobs/${id}/${part}`)).text();
    if (id === this.jobId) this.find(`[data-${part}]`).innerHTML = html;
  }

  async cancel() {
    this.abort?.abort();
    this.forgetUpload();
    if (this.events) this.show(await callJson("POST", `/v1/jobs/${this.jobId}/cancel`));
    else this.say("Cancelled.");
    this.setBusy(false);
  }

  async delete() {
    await call("DELETE", `/v1/jobs/${this.jobId}`);
    this.leave();
    this.clear();
    this.say("The result has been deleted.");
  }

  // Stop following a job; one that still runs is cancelled, because nobody waits for it.
  leave() {
    this.abort?.abort();
    this.forgetUpload();
    if (this.events) {
      this.events.close();
      call("DELETE", `/v1/jobs/${this.jobId}`).catch(() => {});
    }
    this.events = this.jobId = null;
    this.shown = new Set();
    this.setBusy(false);
    rememberJob(this.key, null);
    this.root.dispatchEvent(new Event("scores", { bubbles: true }));
  }

  forgetUpload() {
    if (this.uploadId) call("DELETE", `/v1/uploads/${this.uploadId}`).catch(() => {});
    this.uploadId = null;
  }

  // After a reload, return to the job that the address names.
  async restore() {
    this.shown = new Set();
    const id = rememberedJobs().get(this.key);
    if (!id) return;
    try {
      this.follow(await callJson("GET", `/v1/jobs/${id}`), false);
    } catch (error) {
      this.leave();
      this.fail(error.message);
    }
  }

  clear() {
    this.say("");
    this.find("[data-error]").hidden = true;
    this.find("[data-delete]").hidden = true;
    this.find("[data-scores]").replaceChildren();
    this.find("[data-explanation]").replaceChildren();
    for (const phase of ["upload", "scores", "explanation"]) this.setPhase(phase, 0);
  }

  say(text) {
    const message = this.find("[data-message]");
    if (message.textContent !== text) message.textContent = text; // a screen reader reads each change
  }

  fail(text) {
    this.say("");
    const error = this.find("[data-error]");
    error.hidden = false;
    error.textContent = text;
  }

  setBusy(isBusy) {
    this.find("[data-cancel]").hidden = !isBusy;
    this.find("[type=submit]").disabled = isBusy;
    this.find("[data-phases]").hidden = !isBusy;
    this.root.classList.toggle("busy", isBusy);
  }

  setPhase(name, share, task = "") {
    const phase = this.find(`[data-phase="${name}"]`);
    phase.querySelector("progress").value = share;
    phase.querySelector("[data-task]").textContent = share >= 1 ? "done" : task;
  }
}

function stateText(job) {
  if (job.state === "queued") return `In the queue: ${job.videos_ahead} ${job.videos_ahead === 1 ? "video" : "videos"} ahead of yours.`;
  if (job.state === "cancelled") return "Cancelled. The video has been deleted.";
  if (job.state === "done") return `Done in ${Math.max(1, Math.round(job.seconds))} s. The video has been deleted from the server.`;
  return job.has_scores ? "The scores are ready. Heat maps follow." : "Scoring the video.";
}

// The address holds the jobs of the page behind #, which browsers do not send to servers.
const rememberedJobs = () => new URLSearchParams(location.hash.slice(1));

function rememberJob(key, id) {
  const jobs = rememberedJobs();
  if (id) jobs.set(key, id);
  else jobs.delete(key);
  history.replaceState(null, "", String(jobs) ? `#${jobs}` : location.pathname);
}

const comparison = document.querySelector("[data-comparison]");
const panels = [...document.querySelectorAll("[data-panel]")].map((root) => new Panel(root));

// Two videos: once both have scores, show them side by side.
document.addEventListener("scores", async () => {
  if (!comparison) return;
  comparison.replaceChildren();
  if (!panels.every((panel) => panel.jobId && panel.shown.has("scores"))) return;
  const ids = panels.map((panel) => panel.jobId);
  const html = await (await call("GET", `/fragments/compare/${ids.join("/")}`)).text();
  if (!panels.every((panel, number) => panel.jobId === ids[number])) return;
  comparison.innerHTML = html;
  if (panels.some((panel) => panel.isNew)) comparison.scrollIntoView({ block: "start" });
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.closest("figure").querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
