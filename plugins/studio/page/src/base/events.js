// Messages between the parts of the page. A part tells what happened and does not know who listens.

export class Events {
  #listeners = new Map();

  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, []);
    this.#listeners.get(name).push(listener);
  }

  tell(name, value) {
    for (const listener of this.#listeners.get(name) ?? []) listener(value);
  }
}

/** A function that calls `action` once, `delay` ms after its last call; `flush` calls it now if it is due. */
export function debounced(action, delay) {
  let timer = null;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = null;
      action(...values);
    }, delay);
  };
  later.flush = () => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    action();
  };
  later.cancel = () => {
    clearTimeout(timer);
    timer = null;
  };
  return later;
}
