// The form, the progress and the result of one video.
import { call, callJson, discard, NetworkError, submit } from "./api.js";

const LISTEN_AGAIN_MS = 5000;

export class Panel {
  constructor(root) {
    this.root = root;
    this.key = root.dataset.panel;
    this.isCompared = this.key !== "job";
    this.form = this.find("form");
    this.preview = this.find(".preview");
    this.preview.addEventListener("error", () => this.hidePreview());
    this.find("[type=file]").addEventListener("change", (event) => {
      this.choose(event.target.files[0]);
      event.target.value = ""; // the same file can be chosen again
    });
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
    const { maxBytes, maxMb } = this.root.dataset;
    if (file.size === 0) return this.fail("The file is empty. Choose another one.");
    if (file.size > Number(maxBytes)) return this.fail(`The file is larger than ${maxMb} MB. Send a smaller file.`);
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
    const request = (this.cameraRequest = {}); // the browser may ask for permission first, and take long
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true, audio: true });
    } catch {
      if (request === this.cameraRequest) this.fail("The camera or the microphone cannot be used. Browsers allow it only on localhost and over HTTPS, and only if you agree.");
      return;
    }
    if (request !== this.cameraRequest) return stop(stream); // a second click or another video came in between
    this.leave();
    this.clear();
    const chunks = [];
    this.recorder = new MediaRecorder(stream);
    this.recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
    this.recorder.addEventListener("stop", () => {
      clearTimeout(timer);
      stop(stream);
      this.recorder = null;
      this.setRecording(false);
      this.choose(new File(chunks, "recording.webm", { type: chunks[0]?.type }));
    });
    this.recorder.start(1000);
    const timer = setTimeout(() => this.recorder?.stop(), 1000 * Number(this.root.dataset.maxSeconds) - 1000);
    this.preview.srcObject = stream;
    this.preview.hidden = false;
    this.preview.play().catch(() => {}); // a short recording ends before its picture appears
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
    const { transcript, explain } = this.form.elements;
    const { maxTranscript } = transcript.dataset;
    if (!this.file) return this.fail("No video yet. Choose or record one.");
    if (transcript.value.length > Number(maxTranscript)) {
      return this.fail(`The transcript is longer than ${maxTranscript} characters. Shorten it.`);
    }
    this.leave();
    this.clear();
    this.setBusy(true);
    this.say("Sending the video.");
    this.find(".outcome").scrollIntoView({ block: "nearest" }); // on a phone, the progress lies below the form
    const { signal } = (this.abort = new AbortController());
    const options = { transcript: transcript.value, explain: explain.checked };
    try {
      this.follow(await submit(this.file, options, signal, (share) => this.setPhase("upload", share)), true);
    } catch (error) {
      if (signal.aborted) return; // the panel may already send another video
      this.fail(error.message);
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
      if (this.events) setTimeout(() => id === this.jobId && this.events && this.listen(id), LISTEN_AGAIN_MS);
    } catch (error) {
      if (id !== this.jobId) return;
      if (error instanceof NetworkError) {
        setTimeout(() => id === this.jobId && this.listenAgain(id), LISTEN_AGAIN_MS);
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
    if (this.shown.has("scores") || !(await this.showPart("scores", id))) return;
    if (this.isNew && !this.isCompared) this.find(".outcome").scrollIntoView({ block: "start" });
    this.root.dispatchEvent(new Event("scores", { bubbles: true }));
  }

  // Insert a part of the result, once; return whether it has been inserted.
  async showPart(part, id) {
    if (this.shown.has(part)) return false;
    this.shown.add(part);
    const isInserted = await this.attempt(async () => {
      const html = await (await call("GET", `/fragments/jobs/${id}/${part}`)).text();
      if (id === this.jobId) this.find(`[data-${part}]`).innerHTML = html;
    });
    if (!isInserted && id === this.jobId) this.shown.delete(part);
    return isInserted && id === this.jobId;
  }

  // Do something; show why it failed, if it did. Return whether it succeeded.
  async attempt(action) {
    const id = this.jobId;
    this.find("[data-error]").hidden = true;
    try {
      await action();
      return true;
    } catch (error) {
      if (id === this.jobId) this.fail(error.message);
      return false;
    }
  }

  async cancel() {
    this.abort?.abort();
    if (this.events) {
      await this.attempt(async () => this.show(await callJson("POST", `/v1/jobs/${this.jobId}/cancel`)));
      return;
    }
    this.say("Cancelled.");
    this.setBusy(false);
  }

  async delete() {
    if (!(await this.attempt(() => call("DELETE", `/v1/jobs/${this.jobId}`)))) return;
    this.leave();
    this.clear();
    this.say("The result has been deleted.");
    this.find("[type=file]").focus();
  }

  // Stop following a job; one that still runs is cancelled, because nobody waits for it.
  leave() {
    this.abort?.abort();
    this.cameraRequest = null;
    if (this.events) {
      this.events.close();
      discard(`/v1/jobs/${this.jobId}`);
    }
    this.events = this.jobId = null;
    this.shown = new Set();
    this.setBusy(false);
    rememberJob(this.key, null);
    this.root.dispatchEvent(new Event("scores", { bubbles: true }));
  }

  // After a reload, return to the job that the address names.
  async restore() {
    this.shown = new Set();
    const id = rememberedJobs().get(this.key);
    if (!id) return;
    try {
      this.follow(await callJson("GET", `/v1/jobs/${id}`), false);
    } catch (error) {
      if (!(error instanceof NetworkError)) this.leave(); // a later reload may find the job
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
    error.scrollIntoView({ block: "nearest" });
  }

  setBusy(isBusy) {
    const [cancel, submit] = [this.find("[data-cancel]"), this.find("[type=submit]")];
    submit.disabled = isBusy;
    if (!isBusy && cancel === document.activeElement) submit.focus(); // a hidden button would lose the focus
    cancel.hidden = !isBusy;
    this.find("[data-phases]").hidden = !isBusy;
    this.root.classList.toggle("busy", isBusy);
  }

  setPhase(name, share, task = "") {
    const phase = this.find(`[data-phase="${name}"]`);
    phase.querySelector("progress").value = share;
    phase.querySelector("[data-task]").textContent = share >= 1 ? "done" : task;
  }
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

function stateText(job) {
  if (job.state === "queued") return `In the queue: ${job.videos_ahead} ${job.videos_ahead === 1 ? "video" : "videos"} ahead of yours.`;
  if (job.state === "cancelled") return "Cancelled. The video has been deleted.";
  if (job.state === "done") return `Done in ${Math.max(1, Math.round(job.seconds))} s. The video has been deleted from the server.`;
  return job.has_scores ? "The scores are ready. More will follow." : "Scoring the video.";
}

// The address holds the jobs of the page behind #, which browsers do not send to servers. The storage of the tab holds
// them for the way back from another page.
const rememberedJobs = () => new URLSearchParams(location.hash.slice(1) || stored("getItem", "jobs") || "");

function rememberJob(key, id) {
  const jobs = rememberedJobs();
  if (id) jobs.set(key, id);
  else jobs.delete(key);
  stored("setItem", "jobs", String(jobs));
  history.replaceState(null, "", String(jobs) ? `#${jobs}` : location.pathname);
}

function stored(action, ...values) {
  try {
    return sessionStorage[action](...values);
  } catch {
    return null; // browsers may forbid it to a page in a frame
  }
}
