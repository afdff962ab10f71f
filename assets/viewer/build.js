// Writes viewer.html: the page with its style and its program inside, and the digest of what it was built from.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const folder = new URL(".", import.meta.url);
const read = (name) => readFileSync(new URL(name, folder), "utf8");
const sources = ["build.js", "package-lock.json", "package.json", ...readdirSync(new URL("src", folder)).map((name) => `src/${name}`)];
const digest = createHash("sha256");
for (const name of sources.sort()) digest.update(`${name}\n${read(name)}`);

const { outputFiles: [bundle] } = await build({
  entryPoints: [new URL("src/main.js", folder).pathname],
  bundle: true, minify: true, write: false, format: "iife", target: "es2022", charset: "utf8", legalComments: "inline",
});
const program = bundle.text.replaceAll("</script", "<\\/script");
const page = read("src/page.html")
  .replace("/* style */", () => read("src/page.css"))
  .replace("/* program */", () => program)
  .replace("<!-- digest -->", `<!-- built from sources of sha256 ${digest.digest("hex")} -->`);
writeFileSync(new URL("viewer.html", folder), page);
