// The browser's storage; where it allows none (blocked cookies), nothing outlasts the page.

function storage(name) {
  try {
    return window[name];
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}

export const local = storage("localStorage");
export const session = storage("sessionStorage");
