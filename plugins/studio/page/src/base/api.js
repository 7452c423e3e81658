// Requests to the server. Addresses are relative, so the token in the page's address goes along.

/** What the server answered instead of a result; `status` is 0 when nobody answered. */
export class ApiError extends Error {
  constructor(message, status, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

const GONE = "slideloom studio does not answer; is it still running in the terminal?";

async function request(path, { method = "GET", body, signal, keepalive = false } = {}) {
  let response;
  try {
    response = await fetch(`api/${path}`, {
      method,
      signal,
      keepalive,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(GONE, 0);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new ApiError(
    told.error ?? `The server answered ${response.status} to ${method} ${path}.`,
    response.status,
    told,
  );
}

async function json(path, options) {
  const response = await request(path, options);
  const text = await response.text();
  return text ? JSON.parse(text) : {};
}

const blob = async (path) => (await request(path)).blob();

const slide = (id) => `slides/${encodeURIComponent(id)}`;

export const api = {
  session: () => json("session"),
  slides: () => json("slides"),
  slide: (id, signal) => json(slide(id), { signal }),
  // Sent also while the page is being closed.
  review: (id, review) => json(`${slide(id)}/review`, { method: "PUT", body: review, keepalive: true }),
  thumbnailAddress: (id, max) => `api/${slide(id)}/thumbnail?max=${max}`,
  thumbnail: (id, max) => blob(`${slide(id)}/thumbnail?max=${max}`),
  picture: (id, name) => blob(`${slide(id)}/pictures/${encodeURIComponent(name)}`),
  pyramid: (id, signal) => json(`${slide(id)}/pyramid`, { signal }),
  pyramidTile: (id, [z, x, y], normalized) =>
    `${slide(id)}/pyramid/${z}/${x}/${y}${normalized === null ? "" : `?${new URLSearchParams(normalized)}`}`,
  pyramidPicture: (path) => blob(path),
  regions: (id, signal) => json(`${slide(id)}/regions`, { signal }),
  saveRegions: (id, file) => json(`${slide(id)}/regions`, { method: "PUT", body: file }),
  saveCsv: (id) => json(`${slide(id)}/regions/csv`, { method: "POST" }),
  steps: () => json("steps"),
  sizeForms: () => json("size"),
  pipeline: () => json("pipeline"),
  setPipeline: (pipeline) => json("pipeline", { method: "PUT", body: pipeline }),
  pipelineText: (form, id) => json(`pipeline/text?as=${form}&slide=${encodeURIComponent(id)}`),
  decisions: (id, signal) => json(`${slide(id)}/decisions`, { signal }),
  decide: (id) => json(`${slide(id)}/decisions`, { method: "POST" }),
  cancelDecisions: (id) => json(`${slide(id)}/decisions`, { method: "DELETE" }),
  codes: async (id, revision, signal) =>
    new Uint8Array(
      await (await request(`${slide(id)}/decisions/codes?revision=${revision}`, { signal })).arrayBuffer(),
    ),
  tile: (id, column, row, revision) => json(`${slide(id)}/tiles/${column}/${row}?revision=${revision}`),
  tilePicture: (id, column, row, form, revision) =>
    blob(`${slide(id)}/tiles/${column}/${row}/picture?form=${form}&revision=${revision}`),
  target: (id, use, box) => json(`${slide(id)}/target`, { method: "POST", body: { use, box } }),
  masks: (id, revision) => json(`${slide(id)}/masks?revision=${revision}`),
  mask: async (id, index, revision) =>
    createImageBitmap(await blob(`${slide(id)}/masks/${index}?revision=${revision}`)),
  proposals: (id, index, revision) => json(`${slide(id)}/proposals/${index}?revision=${revision}`),
  points: (id, revision) => json(`${slide(id)}/points?revision=${revision}`),
  run: () => json("run"),
  startRun: (what) => json("run", { method: "POST", body: what }),
  cancelRun: () => json("run", { method: "DELETE" }),
};
