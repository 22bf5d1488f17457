// Decisions as the file that `dataaudit relabel` reads, and back.

const COLUMNS = ["row_id", "given_label", "suggested_label", "probability", "score", "rank",
  "flagged", "train_sha256", "decision", "new_label", "reviewer", "comment", "date", "what"];

// A spreadsheet would run such cells; `relabel` takes the guard away again.
const RISK = /(?:^|(?<=[;\t\r\n]))(?= *['"=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])/g;
const GUARD = /(?:^|(?<=[;\t\r\n]))'/g;
const guarded = (text) => text.replace(RISK, "'");
const unguarded = (cell) => cell.replace(GUARD, "");

function cell(value) {
  const text = typeof value === "string" ? guarded(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function lineOf(item) {
  const row = item.what === "label" ? data.rows[rowIndex.get(String(item.id))] : undefined;
  const found = row
    ? [data.labels[row[GIVEN]][EXACT], data.labels[row[SUGGESTED]][EXACT], row[PROBABILITY], row[SCORE], row[RANK], Boolean(row[FLAGGED])]
    : [item.given || "", "", "", "", "", ""];
  return [item.id, ...found, data.hash.slice(0, 12), item.decision, item.label, item.reviewer,
    item.comment, item.date, item.what].map(cell).join(",");
}

function decisionsCsv(decisions) {
  return [COLUMNS.join(","), ...[...decisions.values()].map(lineOf)].join("\n") + "\n";
}

function download() {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([decisionsCsv(store.decisions)], { type: "text/csv" }));
  link.download = "decisions.csv";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  store.unsaved = 0;
  store.changed();
}

function csvLines(text) {
  const lines = [[]];
  const field = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r\n|\n|\r|$)/g;
  for (const match of text.matchAll(field)) {
    if (!match[0] && match.index === text.length) break;
    const value = match[1].startsWith('"') ? match[1].slice(1, -1).replaceAll('""', '"') : match[1];
    lines[lines.length - 1].push(value);
    if (match[2] !== ",") lines.push([]);
  }
  return lines.filter((line) => line.some((value) => value !== ""));
}

const ALLOWED = { label: ["keep", "relabel", "unsure", "drop"], leak: ["copy", "similar", "unsure"] };

// Returns the decisions of a file, or throws an error that says what does not fit.
function readDecisions(text) {
  const [names = [], ...lines] = csvLines(text.replace(/^\ufeff/, ""));
  if (!names.includes("row_id") || !names.includes("decision")) {
    throw new Error("This is no file of decisions: it needs the columns row_id and decision.");
  }
  const decisions = [];
  lines.forEach((line, number) => {
    const get = (name) => line[names.indexOf(name)] || "";
    const what = get("what") || "label";
    const raw = get("row_id");
    let decision = get("decision").trim().toLowerCase();
    let label = unguarded(get("new_label"));
    if (!decision && !label) return;
    if (get("train_sha256") && get("train_sha256") !== data.hash.slice(0, 12)) {
      throw new Error(`Line ${number + 2} is about other data: train_sha256 is ${get("train_sha256")}, expected ${data.hash.slice(0, 12)}.`);
    }
    const index = what === "leak" ? leakIndex : rowIndex;
    const id = index.has(unguarded(raw)) || !index.has(raw) ? unguarded(raw) : raw;
    const row = what === "label" ? data.rows[rowIndex.get(id)] : undefined;
    if (!decision) decision = row && label === data.labels[row[GIVEN]][EXACT] ? "keep" : "relabel";
    if (!(ALLOWED[what] || []).includes(decision)) {
      throw new Error(`Line ${number + 2}: ${decision} is no decision about a ${what}.`);
    }
    if (decision === "relabel" && !label && row) label = data.labels[row[SUGGESTED]][EXACT];
    if (decision !== "relabel") label = "";
    const own = row ? row[ID] : what === "leak" && leakIndex.has(id) ? data.leaks[leakIndex.get(id)][ID] : id;
    decisions.push({
      what, id: own, decision, label, reviewer: unguarded(get("reviewer")),
      comment: unguarded(get("comment")), date: get("date"), given: unguarded(get("given_label")),
    });
  });
  return decisions;
}
