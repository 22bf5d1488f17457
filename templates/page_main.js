// The frame: three modes behind one address, theme, print.

const MODES = ["read", "decide", "record"];
let mode = "";

function openMode(name) {
  mode = name;
  for (const other of MODES) show(find(other), other === name);
  for (const link of document.querySelectorAll("[data-mode]")) {
    if (link.dataset.mode === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.mode = name;
  if (name === "record") {
    drawRecord();
    if (!sheetsDrawn) drawSheets();
  }
}

// #read, #decide, #record, #row=ID, or the id of a section in one of them.
function route() {
  const parts = location.hash.slice(1).split("&").filter(Boolean);
  const asked = new Map(parts.map((part) => {
    const at = part.indexOf("=");
    return at < 0 ? [part, ""] : [part.slice(0, at), part.slice(at + 1)];
  }));
  if (asked.has("decide") || asked.has("row")) {
    openMode("decide");
    openDecide(asked);
    window.scrollTo(0, 0);
    return;
  }
  const target = parts.length ? document.getElementById(decoded(parts[0])) : null;
  const holder = target && target.closest(".mode");
  openMode(holder ? holder.id : "read");
  if (!target) return;
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (MODES.includes(target.id)) window.scrollTo(0, 0);
  else target.scrollIntoView();
}

function setUpTheme() {
  const button = find("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const update = () => button.setAttribute("aria-pressed", String(chosen ? chosen === "dark" : system.matches));
  button.addEventListener("click", () => {
    chosen = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    update();
  });
  system.addEventListener("change", update);
  update();
  show(button, true);
  const print = find("print");
  print.addEventListener("click", () => window.print());
  show(print, true);
}

for (const part of document.querySelectorAll(".needs-script")) show(part, true);
for (const part of document.querySelectorAll(".without-script")) show(part, false);
store.open();
setUpTheme();
setUpBudget();
setUpDecide();
setUpRecord();
store.listeners.push(drawProgress);
drawProgress();
window.addEventListener("hashchange", route);
route();
saved.open();
