// Pictures of the server in elements of the page. They are fetched, since an element that loads by itself does not say
// why the server refused.

const asked = new WeakMap(); // element -> the last promise that it was given

/**
 * Shows the picture of a promise of a blob in an <img>, unless it was given another one meanwhile.
 *
 * Rejects with what went wrong.
 */
export async function showPicture(img, picture) {
  asked.set(img, picture);
  const blob = await picture;
  if (asked.get(img) !== picture) return;
  const address = URL.createObjectURL(blob);
  try {
    await new Promise((resolve, reject) => {
      img.addEventListener("load", resolve, { once: true });
      img.addEventListener("error", () => reject(new Error("A picture of the server cannot be shown.")), {
        once: true,
      });
      img.src = address;
    });
  } finally {
    URL.revokeObjectURL(address);
  }
}
