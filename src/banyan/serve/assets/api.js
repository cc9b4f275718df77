// Talking to the server: the key, its errors, and reading a stream of events.

import { word } from "./words.js";

const KEY = "banyan.key";

export class Problem extends Error {
  constructor(message, code, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

let key = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
let askForKey = async () => {};

export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function hasKey() {
  return Boolean(key);
}

export function setKey(value, remember) {
  key = value;
  for (const place of [sessionStorage, localStorage]) place.removeItem(KEY);
  (remember ? localStorage : sessionStorage).setItem(KEY, value);
}

async function send(path, { body, signal, method = body === undefined ? "GET" : "POST" } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(word("problem.unreachable"), "unreachable");
  }
  if (response.status === 401) {
    await askForKey(Boolean(key));
    return send(path, { body, signal, method });
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  try {
    const { error } = await response.json();
    return new Problem(error.message, error.code, response.status);
  } catch {
    return new Problem(`HTTP ${response.status}`, "unknown", response.status);
  }
}

export async function remove(path) {
  return (await send(path, { method: "DELETE" })).json();
}

export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

export async function post(path, body, signal) {
  const response = await send(path, { body, signal });
  return { ...(await response.json()), requestId: response.headers.get("X-Request-Id") };
}

export async function isKeyRight(candidate) {
  const response = await fetch("/v1/models", { headers: { Authorization: `Bearer ${candidate}` }, cache: "no-store" });
  return response.ok;
}

// Yields the chunks of a streamed answer. A stream that ends without [DONE] is an error, not a short answer.
export async function* stream(path, body, signal) {
  const response = await send(path, { body: { ...body, stream: true }, signal });
  const requestId = response.headers.get("X-Request-Id");
  for await (const data of eventsOf(response)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Problem(chunk.error.message, chunk.error.code);
    yield { ...chunk, requestId };
  }
  throw new Problem(word("problem.lost"), "lost");
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        if (frame.startsWith("data: ")) yield frame.slice("data: ".length);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(word("problem.lost"), "lost");
  } finally {
    reader.cancel().catch(() => {});
  }
}
