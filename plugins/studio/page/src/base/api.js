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

async function request(path, { method = "GET", body, signal } = {}) {
  let response;
  try {
    response = await fetch(`api/${path}`, {
      method,
      signal,
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

const slide = (id) => `slides/${encodeURIComponent(id)}`;

export const api = {
  session: () => json("session"),
  slides: () => json("slides"),
  slide: (id, signal) => json(slide(id), { signal }),
  review: (id, review) => json(`${slide(id)}/review`, { method: "PUT", body: review }),
  thumbnail: (id, max = 200) => `api/${slide(id)}/thumbnail?max=${max}`,
  picture: (id, name) => `api/${slide(id)}/pictures/${encodeURIComponent(name)}`,
  pyramid: (id, signal) => json(`${slide(id)}/pyramid`, { signal }),
  pyramidTile: (id, [z, x, y], normalized) =>
    `api/${slide(id)}/pyramid/${z}/${x}/${y}${normalized === null ? "" : `?normalized=${normalized}`}`,
  regions: (id, signal) => json(`${slide(id)}/regions`, { signal }),
  saveRegions: (id, file) => json(`${slide(id)}/regions`, { method: "PUT", body: file }),
  saveCsv: (id) => json(`${slide(id)}/regions/csv`, { method: "POST" }),
  steps: () => json("steps"),
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
  tile: (id, column, row) => json(`${slide(id)}/tiles/${column}/${row}`),
  tilePicture: (id, column, row, form, revision) =>
    `api/${slide(id)}/tiles/${column}/${row}/picture?form=${form}&revision=${revision}`,
  masks: (id, signal) => json(`${slide(id)}/masks`, { signal }),
  mask: async (id, index, revision) =>
    createImageBitmap(await (await request(`${slide(id)}/masks/${index}?revision=${revision}`)).blob()),
  proposals: (id, index) => json(`${slide(id)}/proposals/${index}`),
  points: (id, signal) => json(`${slide(id)}/points`, { signal }),
  run: () => json("run"),
  startRun: (what) => json("run", { method: "POST", body: what }),
  cancelRun: () => json("run", { method: "DELETE" }),
};
