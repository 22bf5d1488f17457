// Record: what was decided, and contact sheets of rows and leaks, for paper.

const PRINTED_ROWS = 960;
const PRINTED_LEAKS = 300;

function sheetTile(sample, title, words, verdict) {
  const item = make("li", "sheet-tile");
  if (sample && sample[IMAGE]) {
    const image = make("img");
    image.src = sample[IMAGE];
    image.alt = "";
    item.append(image);
  }
  const text = make("div");
  text.append(fromData("p", "tile-id", title), fromData("p", "", words));
  if (sample && !sample[IMAGE]) text.append(fromData("p", "excerpt", excerptOf(sample).slice(0, 140)));
  text.append(make("p", "quiet", verdict));
  item.append(text);
  return item;
}

function verdictWords(found) {
  if (!found) return "not decided";
  return `${WORDS[found.decision]}${found.label ? ` as ${found.label}` : ""}${found.reviewer ? `, ${found.reviewer}` : ""}`;
}

function drawRecord() {
  const done = progress();
  find("record-progress").textContent = [
    done.rows ? `${whole(done.decided)} of ${plural(done.rows, "flagged row", "flagged rows")} decided, ${whole(done.corrected)} corrected.` : "",
    done.leaks ? `${whole(done.leaksDecided)} of ${plural(done.leaks, "leak", "leaks")} decided, ${plural(done.copies, "copy", "copies")}.` : "",
  ].filter(Boolean).join(" ");
  const names = new Set([...store.decisions.values(), ...store.logged.values()].map((item) => item.reviewer).filter(Boolean));
  find("record-reviewers").textContent = names.size ? `Decided by ${[...names].join(", ")}.` : "";
}

let sheetsDrawn = false;
function drawSheets() {
  const rows = data.rows.filter((row) => row[FLAGGED] || store.of("label", row[ID])).slice(0, PRINTED_ROWS);
  find("sheet-rows").replaceChildren(...rows.map((row) => sheetTile(
    data.samples[row[SAMPLE]], `Row ${row[ID]}`,
    `${data.labels[row[GIVEN]][DISPLAY].slice(0, 60)} → ${data.labels[row[SUGGESTED]][DISPLAY].slice(0, 60)}, ${row[PROBABILITY_TEXT]}`,
    verdictWords(store.of("label", row[ID])),
  )));
  show(find("annex-rows"), rows.length > 0);
  const leaks = data.leaks.slice(0, PRINTED_LEAKS);
  find("sheet-leaks").replaceChildren(...leaks.map(([id, sample, matches]) => {
    const item = make("li", "sheet-pair");
    item.append(
      sheetTile(data.samples[sample], `Evaluation sample ${id}`, matches[0][MATCH_KIND], verdictWords(store.of("leak", id))),
      sheetTile(data.samples[matches[0][MATCH_SAMPLE]], `Training row ${matches[0][MATCH_ID]}`, matches.length > 1 ? `and ${matches.length - 1} more` : "", ""),
    );
    const list = make("ul", "pair-list");
    list.append(...item.children);
    item.append(list);
    return item;
  }));
  show(find("annex-leaks"), leaks.length > 0);
  sheetsDrawn = true;
}

function setUpRecord() {
  window.addEventListener("beforeprint", () => { drawRecord(); drawSheets(); });
}
