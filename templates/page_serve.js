// Served by `dataaudit review --serve`: decisions go straight into the run directory, and what was
// decided in another window comes back from there.

const alike = (one, other) => Boolean(one) === Boolean(other) && (!one
  || ["decision", "label", "reviewer", "comment"].every((name) => one[name] === other[name]));

const saved = {
  served: "served" in document.body.dataset,
  // What the file holds, as far as this page knows.
  base: new Map(),
  version: "",
  trouble: "",
  busy: false,

  // What the file is to hold. Where another window differs, its decision stays until that is settled.
  wanted() {
    const wanted = new Map();
    for (const key of new Set([...store.decisions.keys(), ...store.conflicts.keys()])) {
      const item = store.conflicts.has(key) ? this.base.get(key) : store.decisions.get(key);
      if (item) wanted.set(key, { ...item });
    }
    return wanted;
  },

  isDone(wanted) {
    return [...new Set([...wanted.keys(), ...this.base.keys()])].every((key) => alike(wanted.get(key), this.base.get(key)));
  },

  words() {
    if (this.trouble) return `Not saved: ${this.trouble}`;
    return this.busy ? "Saving …" : "Saved in the audit's directory, as decisions.csv.";
  },

  async push() {
    if (!this.served || this.busy) return;
    this.busy = true;
    try {
      for (let wanted = this.wanted(); !this.isDone(wanted); wanted = this.wanted()) {
        const answer = await this.ask({ method: "PUT", headers: { "If-Match": `"${this.version}"` }, body: decisionsCsv(wanted) });
        if (answer.status === 412) await this.take();
        else {
          this.base = wanted;
          this.version = answer.headers.get("ETag").replaceAll('"', "");
        }
      }
      this.trouble = "";
    } catch (error) {
      this.trouble = error.message;
    }
    this.busy = false;
    drawFoot();
  },

  async ask(request) {
    const answer = await fetch("decisions.csv", request).catch(() => {
      throw new Error("dataaudit review has ended. Download the decisions before you leave.");
    });
    if (!answer.ok && answer.status !== 412) throw new Error(await answer.text());
    return answer;
  },

  // Takes in what others changed since; what changed here stays, and what changed in both waits.
  async take() {
    const answer = await this.ask({});
    const text = await answer.text();
    const theirs = new Map();
    for (const item of text ? readDecisions(text) : []) {
      if (!store.isLocked(item.what, item.id)) theirs.set(keyOf(item.what, item.id), item);
    }
    let conflicts = 0;
    for (const key of new Set([...this.base.keys(), ...theirs.keys()])) {
      const was = this.base.get(key), mine = store.decisions.get(key), other = theirs.get(key);
      if (alike(was, other)) continue;
      if (alike(mine, was) && !other) store.decisions.delete(key);
      else if (alike(mine, was) || (other && store.compare(mine, other) === "new")) store.decisions.set(key, { ...other });
      else if (other && store.compare(mine, other) === "conflict") {
        store.conflicts.set(key, { ...other, source: "another window" });
        conflicts += 1;
      }
    }
    this.base = theirs;
    this.version = answer.headers.get("ETag").replaceAll('"', "");
    if (conflicts) say(`${plural(conflicts, "row was", "rows were")} decided otherwise in another window: see the rows in conflict.`);
    store.changed();
    drawAgain();
  },

  async refresh() {
    if (this.busy) return;
    try {
      await this.take();
      this.trouble = "";
    } catch (error) {
      this.trouble = error.message;
      drawFoot();
    }
  },

  open() {
    if (!this.served) return;
    store.listeners.push(() => this.push());
    window.addEventListener("focus", () => this.refresh());
    this.refresh();
  },
};
