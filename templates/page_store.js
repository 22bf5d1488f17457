// Decisions: kept in this browser under the hashes of rows and suspects, where it keeps anything:
// suspects of one number in two test sets are two samples.

const PLACE = `dataaudit ${data.hash} ${data.suspectsHash}`;
const keyOf = (what, id) => `${what} ${id}`;

const store = {
  decisions: new Map(),
  logged: new Map(),
  conflicts: new Map(),
  history: [],
  reviewer: "",
  kept: false,
  unsaved: 0,
  listeners: [],

  of(what, id) {
    const key = keyOf(what, id);
    return this.decisions.get(key) || this.logged.get(key);
  },

  // What `relabel` has written into the audit's own log stands there for good.
  isLocked(what, id) {
    const logged = this.logged.get(keyOf(what, id));
    return Boolean(logged) && logged.decision !== "unsure";
  },

  // Each change is [what, id, decision or null]; all of them are undone together.
  decide(changes, from) {
    const open = changes.filter(([what, id]) => !this.isLocked(what, id));
    if (!open.length) return false;
    this.history.push({
      from,
      before: open.map(([what, id]) => [what, id, this.decisions.get(keyOf(what, id)) || null]),
    });
    for (const [what, id, decision] of open) this.put(what, id, decision);
    this.unsaved += open.length;
    this.changed();
    return true;
  },

  put(what, id, decision) {
    const key = keyOf(what, id);
    if (decision === null) this.decisions.delete(key);
    else this.decisions.set(key, decision);
    this.conflicts.delete(key);
  },

  undo() {
    const last = this.history.pop();
    if (!last) return null;
    for (const [what, id, decision] of last.before) this.put(what, id, decision);
    this.unsaved += 1;
    this.changed();
    return last.from;
  },

  note(what, id, comment) {
    const decision = this.decisions.get(keyOf(what, id));
    if (!decision || decision.comment === comment) return;
    decision.comment = comment;
    this.unsaved += 1;
    this.changed();
  },

  // To be unsure gives way to any other decision.
  compare(own, other) {
    if (!own) return "new";
    if (own.decision === other.decision && own.label === other.label) return "same";
    if (other.decision === "unsure") return "same";
    return own.decision === "unsure" ? "new" : "conflict";
  },

  // Takes in somebody else's decisions: the same twice is nothing new, two that differ wait.
  merge(others) {
    const counts = { new: 0, same: 0, conflict: 0 };
    for (const other of others) {
      const key = keyOf(other.what, other.id);
      const found = this.compare(this.decisions.get(key) || this.logged.get(key), other);
      counts[found] += 1;
      if (found === "conflict") this.conflicts.set(key, { ...other, source: "the loaded file" });
      if (found === "new") {
        this.decisions.set(key, other);
        this.unsaved += 1;
      }
    }
    this.changed();
    return counts;
  },

  changed() {
    try {
      localStorage.setItem(PLACE, JSON.stringify({
        decisions: [...this.decisions.values()],
        history: this.history.slice(-500),
        reviewer: this.reviewer,
        unsaved: this.unsaved,
      }));
      this.kept = true;
    } catch {
      this.kept = false;
    }
    for (const listener of this.listeners) listener();
  },

  isKept() {
    return saved.served ? !saved.trouble && saved.isDone(saved.wanted()) : this.kept;
  },

  read(text) {
    const found = JSON.parse(text || "{}");
    this.decisions.clear();
    for (const item of saved.served ? [] : found.decisions || []) {
      if (!this.isLocked(item.what, item.id)) this.decisions.set(keyOf(item.what, item.id), item);
    }
    this.history = found.history || [];
    this.reviewer = found.reviewer || "";
    this.unsaved = this.decisions.size ? found.unsaved || 0 : 0;
  },

  open() {
    for (const [what, id, decision, label, reviewer] of data.logged) {
      const key = keyOf(what, id);
      const earlier = this.logged.get(key);
      if (earlier && earlier.decision !== "unsure") continue;
      this.logged.set(key, { what, id, decision, label, reviewer, comment: "", date: "" });
    }
    try {
      this.read(localStorage.getItem(PLACE));
    } catch {
      this.decisions.clear();
    }
    // Another tab of this page has decided: it knew what stands here.
    window.addEventListener("storage", (event) => {
      if (event.key !== PLACE || !event.newValue) return;
      this.read(event.newValue);
      for (const listener of this.listeners) listener();
      drawAgain();
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.unsaved && !this.isKept()) event.preventDefault();
    });
    this.changed();
  },
};

const rowIndex = new Map(data.rows ? data.rows.map((row, index) => [String(row[ID]), index]) : []);
const leakIndex = new Map(data.leaks ? data.leaks.map((leak, index) => [String(leak[ID]), index]) : []);

// How far the review has come: flagged rows and leaks, decided of all.
function progress() {
  const flagged = data.rows.slice(0, data.rows.length - data.extra).filter((row) => row[FLAGGED]);
  const decided = flagged.filter((row) => store.of("label", row[ID]));
  const corrected = decided.filter((row) => ["relabel", "drop"].includes(store.of("label", row[ID]).decision));
  const leaks = data.leaks.filter((leak) => store.of("leak", leak[ID]));
  return {
    rows: data.totals.rows, decided: decided.length, corrected: corrected.length,
    leaks: data.totals.leaks, leaksDecided: leaks.length,
    copies: leaks.filter((leak) => store.of("leak", leak[ID]).decision === "copy").length,
  };
}

// Wilson's 95% interval of a share.
function wilson(hits, count) {
  const z = 1.959963984540054;
  const share = hits / count;
  const square = (z * z) / count;
  const centre = (share + square / 2) / (1 + square);
  const half = (z * Math.sqrt((share * (1 - share)) / count + square / (4 * count))) / (1 + square);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
