// The page: one or two panels, the comparison of two videos, and the buttons that copy examples. No build step.
import { call } from "./api.js";
import { Panel } from "./panel.js";

const comparison = document.querySelector("[data-comparison]");
const panels = [...document.querySelectorAll("[data-panel]")].map((root) => new Panel(root));

// Two videos: once both have scores, show them side by side.
document.addEventListener("scores", async () => {
  if (!comparison) return;
  comparison.replaceChildren();
  if (!panels.every((panel) => panel.jobId && panel.shown.has("scores"))) return;
  const ids = panels.map((panel) => panel.jobId);
  await panels[0].attempt(async () => {
    const html = await (await call("GET", `/fragments/compare/${ids.join("/")}`)).text();
    if (!panels.every((panel, number) => panel.jobId === ids[number])) return;
    comparison.innerHTML = html;
    if (panels.some((panel) => panel.isNew)) comparison.scrollIntoView({ block: "start" });
  });
});

// A file that is dropped beside the panel must not replace the page.
for (const kind of ["dragover", "drop"]) {
  addEventListener(kind, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.firstChild; // a label for screen readers comes behind it
  button.addEventListener("click", async () => {
    const code = button.closest("figure").querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      label.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // browsers offer the clipboard only on localhost and over HTTPS
      label.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (label.textContent = "Copy"), 3000);
  });
}
