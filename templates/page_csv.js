// Decisions as the file that `dataaudit relabel` reads, and back.

const COLUMNS = ["row_id", "given_label", "suggested_label", "probability", "score", "rank",
  "flagged", "train_sha256", "decision", "new_label", "reviewer", "comment", "date", "what", "suspects_sha256"];

const HASHES = { train_sha256: data.hash.slice(0, 12), suspects_sha256: data.suspectsHash.slice(0, 12) };

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
  return [item.id, ...found, HASHES.train_sha256, item.decision, item.label, item.reviewer,
    item.comment, item.date, item.what, item.what === "leak" ? HASHES.suspects_sha256 : ""].map(cell).join(",");
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

// Columns that say what was decided: none of them may be passed over for how it is written.
const DECIDING = ["row_id", "decision", "new_label", "what"];

function refuseColumns(names) {
  for (const name of names) {
    const plain = name.trim().toLowerCase().replaceAll(" ", "_");
    if (COLUMNS.includes(name) && names.indexOf(name) !== names.lastIndexOf(name)) {
      throw new Error(`The column ${name} is there twice, expected once.`);
    }
    if (!COLUMNS.includes(name) && DECIDING.includes(plain)) {
      throw new Error(`The column “${name}” would not be read; did you mean ${plain}?`);
    }
  }
  if (!names.includes("row_id") || !(names.includes("decision") || names.includes("new_label"))) {
    throw new Error("This is no file of decisions: it needs the columns row_id and decision, or new_label.");
  }
}

const ALLOWED = { label: ["keep", "relabel", "unsure", "drop"], leak: ["copy", "similar", "unsure"] };

// Returns the decisions of a file, or throws an error that says what does not fit.
function readDecisions(text) {
  const [names = [], ...lines] = csvLines(text.replace(/^\ufeff/, ""));
  refuseColumns(names);
  const decisions = [];
  lines.forEach((line, number) => {
    const get = (name) => line[names.indexOf(name)] || "";
    const what = get("what") || "label";
    const raw = get("row_id");
    let decision = get("decision").trim().toLowerCase();
    let label = unguarded(get("new_label"));
    if (!decision && !label) return;
    for (const name of what === "leak" ? Object.keys(HASHES) : ["train_sha256"]) {
      if (get(name) && get(name) !== HASHES[name]) {
        throw new Error(`Line ${number + 2} is about other data: ${name} is ${get(name)}, expected ${HASHES[name]}.`);
      }
    }
    const index = what === "leak" ? leakIndex : rowIndex;
    const id = index.has(unguarded(raw)) || !index.has(raw) ? unguarded(raw) : raw;
    const row = what === "label" ? data.rows[rowIndex.get(id)] : undefined;
    if (!decision) decision = row && label === data.labels[row[GIVEN]][EXACT] ? "keep" : "relabel";
    if (!(ALLOWED[what] || []).includes(decision)) {
      throw new Error(`Line ${number + 2}: ${decision} is no decision about a ${what}.`);
    }
    const given = row && data.classes ? data.labels[row[GIVEN]][EXACT] : undefined;
    if (label && given !== undefined && (decision === "keep" ? label !== given : decision === "relabel" && label === given)) {
      throw new Error(`Line ${number + 2}: the decision is to ${decision}, but the label is ${given} and new_label ${label}.`);
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
