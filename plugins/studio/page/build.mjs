// Bundles the page into the folder that the Python package serves, with the licences of what is inside.
//
// The same sources and versions give the same bytes: esbuild is deterministic, and the licences are sorted by name.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "../src/slideloom_studio/static"));

async function licences(metafile) {
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const used = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
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

await mkdir(out, { recursive: true });
const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: { studio: "src/main.js" },
  bundle: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16.4"],
  minify: true,
  legalComments: "none", // LICENSES.txt has them whole
  charset: "utf8",
  outdir: out,
  metafile: true,
});
await build({ absWorkingDir: here, entryPoints: { studio: "studio.css" }, minify: true, bundle: true, outdir: out, charset: "utf8" });
await copyFile(join(here, "index.html"), join(out, "index.html"));
await writeFile(join(out, "LICENSES.txt"), await licences(metafile));
