// Requests to the API. They wait when the server asks for it, and survive a broken connection.
const CHUNK_BYTES = 1 << 20;
const MAX_RETRIES = 5;
const RETRY_MS = 500;

export class NetworkError extends Error {}
class RateError extends Error {} // the client has sent too many requests; waitMs says how long to wait

export async function call(method, path, { body, headers = {}, signal } = {}) {
  for (let retries = 0; ; retries++) {
    try {
      return await send(method, path, body, headers, signal);
    } catch (error) {
      const canRetry = error instanceof RateError || (error instanceof NetworkError && method === "GET");
      if (!canRetry || retries === MAX_RETRIES) throw error;
      await sleep(error.waitMs ?? RETRY_MS * 2 ** retries, signal);
    }
  }
}

export const callJson = async (...request) => (await call(...request)).json();

async function send(method, path, body, headers, signal) {
  const isBytes = body instanceof ArrayBuffer;
  const kind = isBytes ? "application/octet-stream" : "application/json";
  const options = { method, signal, headers: body === undefined ? headers : { ...headers, "Content-Type": kind } };
  if (body !== undefined) options.body = isBytes ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new NetworkError("The server cannot be reached. Check your connection and try again.");
  }
  if (response.status === 401 && path !== "/session") location.reload(); // the session has ended: the page asks for the key
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const problem = await response.json().catch(() => ({})); // perhaps a proxy answered, not the server
  const detail = problem.detail ?? `the server answered with status ${response.status}`;
  const text = `${detail[0].toUpperCase()}${detail.slice(1)}.`;
  if (problem.code === "wrong-offset") return new NetworkError(text); // bytes of a lost connection have arrived late
  if (problem.code !== "too-many-requests") return new Error(text);
  return Object.assign(new RateError(text), { waitMs: 1000 * (Number(response.headers.get("Retry-After")) || 1) });
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

// Send a video and put it in the queue; return its job. After an abort or an error, nothing of it stays on the server.
export async function submit(file, { transcript, explain }, signal, onProgress) {
  // Without the signal: the server may act on a request whose answer nobody reads.
  const { id } = await callJson("POST", "/v1/uploads", { body: { name: file.name, size: file.size } });
  try {
    await sendChunks(file, `/v1/uploads/${id}`, signal, onProgress);
  } catch (error) {
    discard(`/v1/uploads/${id}`);
    throw error;
  }
  let job;
  try {
    job = await callJson("POST", "/v1/jobs", { body: { upload: id, transcript, explain } });
  } catch (error) {
    discard(`/v1/uploads/${id}`);
    throw error;
  }
  if (signal.aborted) discard(`/v1/jobs/${job.id}`);
  signal.throwIfAborted();
  return job;
}

// After a broken connection, go on where it broke.
async function sendChunks(file, path, signal, onProgress) {
  signal.throwIfAborted();
  for (let offset = 0, retries = 0; offset < file.size; onProgress(offset / file.size)) {
    const body = await readChunk(file, offset);
    try {
      const headers = { "Upload-Offset": String(offset) };
      ({ offset } = await callJson("PATCH", path, { body, headers, signal }));
      retries = 0;
    } catch (error) {
      if (!(error instanceof NetworkError) || ++retries > MAX_RETRIES) throw error;
      await sleep(RETRY_MS * 2 ** retries, signal);
      ({ offset } = await callJson("GET", path, { signal }));
    }
  }
}

async function readChunk(file, offset) {
  try {
    return await file.slice(offset, offset + CHUNK_BYTES).arrayBuffer();
  } catch {
    throw new Error("The file cannot be read: it has changed or moved. Choose it again.");
  }
}

// Delete something that nobody waits for.
export function discard(path) {
  call("DELETE", path).catch(() => {});
}
