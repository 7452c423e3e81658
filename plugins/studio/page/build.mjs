// Bundles the page into the folder that the Python package serves, with the licences of what is inside.
//
// The same sources and versions give the same bytes: esbuild is deterministic, and the licences are sorted by name.
// The first line of studio.js holds a digest of the sources, so that a stale bundle is noticed without npm.

import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "../src/slideloom_studio/static"));

async function licences(metafile) {
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const used = inputs
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([path]) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
  const packages = [...new Set(used.filter(Boolean))].sort();
  const texts = await Promise.all(
    packages.map(async (name) => {
      const folder = join(here, "node_modules", name);
      const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
      const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
      if (!file) throw new Error(`${name} has no licence file`);
      const text = (await readFile(join(folder, file), "utf8")).replaceAll("\r\n", "\n").trim();
      return `${name} ${version} (${license})\n\n${text}\n`;
    }),
  );
  return `studio.js and studio.css contain parts of these packages.\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}

/** SHA-256 of names and contents of what the bundle is made from. */
async function digestOfSources() {
  const folders = await Promise.all(
    ["src", "styles"].map(async (folder) =>
      (await readdir(join(here, folder), { recursive: true, withFileTypes: true }))
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name)),
    ),
  );
  const files = ["build.mjs", "index.html", "package.json", "studio.css"]
    .map((name) => join(here, name))
    .concat(...folders);
  const named = files
    .map((path) => [relative(here, path).replaceAll("\\", "/"), path])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash("sha256");
  for (const [name, path] of named)
    hash
      .update(`${name}\0`)
      .update(await readFile(path))
      .update("\0");
  return hash.digest("hex");
}

await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { studio: "src/main.js" },
  bundle: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16.4"],
  minify: true,
  legalComments: "none", // LICENSES.txt has them whole
  banner: { js: `// sources ${await digestOfSources()}` },
  charset: "utf8",
  outdir: out,
  metafile: true,
});
await build({
  absWorkingDir: here,
  entryPoints: { studio: "studio.css" },
  minify: true,
  bundle: true,
  outdir: out,
  charset: "utf8",
});
await copyFile(join(here, "index.html"), join(out, "index.html"));
await writeFile(join(out, "LICENSES.txt"), await licences(metafile));
