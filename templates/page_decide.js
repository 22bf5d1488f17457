// Decide: a queue on the left, one item in the middle, its evidence on the right.

const PILES = ["labels", "twins", "leaks"];
const QUEUE = 60;
const WORDS = {
  keep: "kept", relabel: "relabelled", unsure: "unsure", drop: "dropped", copy: "copy", similar: "only similar",
};
const state = { pile: "labels", show: "flagged", pair: "", order: "rank", search: "", least: 0, tab: 0, anchor: -1, chosen: new Set() };
let list = [];
let current = -1;
let shuffled = null;

const itemsOf = { labels: data.rows, twins: data.contradictions, leaks: data.leaks };
const whatOf = { labels: "label", twins: "label", leaks: "leak" };

// The ids that one item decides about: of two rows of the same content, both.
function idsOf(index) {
  const item = itemsOf[state.pile][index];
  return state.pile === "twins" ? item.map(([id]) => id) : [item[ID]];
}

function decisionOf(index) {
  const found = idsOf(index).map((id) => store.of(whatOf[state.pile], id));
  return found.every(Boolean) ? found[0] : undefined;
}

function pairOf(row) {
  return [row[GIVEN], row[SUGGESTED]].map((label) => encodeURIComponent(data.labels[label][EXACT])).join(":");
}

// Other encoders than this browser's leave other characters as they are.
function samePair(text) {
  return text.split(":").map((label) => encodeURIComponent(decoded(label))).join(":");
}

function haystack(row) {
  const sample = data.samples[row[SAMPLE]];
  const parts = [row[ID], data.labels[row[GIVEN]][DISPLAY], data.labels[row[SUGGESTED]][DISPLAY]];
  if (sample) parts.push(sample[TEXT], ...sample[FIELDS].map((field) => field[1]));
  return parts.join("\n").toLowerCase();
}
let haystacks = null;

// Rows behind the ranking stand here only because they were drawn at random.
const ranked = data.rows.length - data.extra;
const drawnParts = data.drawn ? data.drawn.parts : [];
const drawnIds = new Set(drawnParts.flatMap(([, , ids]) => ids.map(String)));

const anyFlagged = data.rows.some((row) => row[FLAGGED]);

function matchesFilters(row, index) {
  if (state.show === "drawn" && !drawnIds.has(String(row[ID]))) return false;
  if (index >= ranked && ["flagged", "next", "open"].includes(state.show)) return false;
  // Where nothing is flagged, the top of the ranking stands in its place.
  if (state.show === "flagged" && anyFlagged && !row[FLAGGED]) return false;
  if (state.show === "next" && row[FLAGGED]) return false;
  if (state.show === "open" && ((anyFlagged && !row[FLAGGED]) || store.of("label", row[ID]))) return false;
  if (state.show === "decided" && !store.of("label", row[ID])) return false;
  if (state.show === "conflicts" && !store.conflicts.has(keyOf("label", row[ID]))) return false;
  if (state.pair && pairOf(row) !== state.pair) return false;
  if (row[PROBABILITY] < state.least) return false;
  return !state.search || haystacks[index].includes(state.search);
}

function ordered(indexes) {
  if (state.pile !== "labels" || state.order === "rank") return indexes;
  const value = {
    probability: (index) => -data.rows[index][PROBABILITY],
    pair: (index) => pairOf(data.rows[index]),
    random: (index) => shuffled[index],
  }[state.order];
  return indexes.map((index) => [value(index), index])
    .sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1])).map(([, index]) => index);
}

function rebuild(keep) {
  const before = current >= 0 ? list[current] : undefined;
  if (state.search && !haystacks) haystacks = data.rows.map(haystack);
  if (state.order === "random" && !shuffled) shuffled = data.rows.map(() => Math.random());
  const every = itemsOf[state.pile].map((_, index) => index);
  list = ordered(state.pile === "labels" ? every.filter((index) => matchesFilters(data.rows[index], index)) : every);
  const again = keep ? list.indexOf(before) : -1;
  current = again >= 0 ? again : list.findIndex((index) => !decisionOf(index));
  if (current < 0 && list.length) current = 0;
  state.chosen.clear();
  state.tab = 0;
}

// Tiles -----------------------------------------------------------------------------------------

function tileWords(index) {
  const item = itemsOf[state.pile][index];
  if (state.pile === "labels") {
    return [String(item[ID]), ...changeInShort(item), item[PROBABILITY_TEXT], item[SAMPLE]];
  }
  if (state.pile === "leaks") return [String(item[ID]), item[MATCHES][0][MATCH_KIND], "", "", item[1]];
  return [`${item[0][0]} and ${item[1][0]}`, data.labels[item[0][1]][DISPLAY], data.labels[item[1][1]][DISPLAY], "", item[0][2]];
}

function tile(place) {
  const index = list[place];
  const [id, first, second, share, position] = tileWords(index);
  const sample = data.samples[position];
  const decision = decisionOf(index);
  const button = make("button", "tile");
  button.type = "button";
  if (place === current) button.setAttribute("aria-current", "true");
  if (state.chosen.has(place)) button.classList.add("chosen");
  if (decision) button.classList.add(`is-${decision.decision}`);
  if (sample && sample[IMAGE]) {
    const image = make("img");
    image.src = sample[IMAGE];
    image.alt = "";
    button.append(image);
  }
  const words = make("span", "tile-words");
  const head = make("span", "tile-head");
  head.append(fromData("span", "tile-id", id), make("span", "quiet", decision ? WORDS[decision.decision] : share));
  words.append(head);
  const change = make("span", "tile-change");
  change.append(fromData("span", "", first), second ? " → " : "", fromData("span", "", second));
  words.append(change);
  if (sample && !sample[IMAGE]) words.append(fromData("span", "excerpt", excerptOf(sample).slice(0, 160)));
  button.append(words);
  button.addEventListener("click", (event) => {
    if (event.shiftKey) choose(place);
    else go(place);
  });
  return button;
}

// Shift and a click, or shift and an arrow, take a run of tiles at once.
function choose(place) {
  if (state.anchor < 0) state.anchor = current;
  state.chosen.clear();
  for (let at = Math.min(state.anchor, place); at <= Math.max(state.anchor, place); at += 1) state.chosen.add(at);
  current = place;
  draw();
}

function drawQueue() {
  const first = Math.floor(Math.max(current, 0) / QUEUE) * QUEUE;
  const part = list.slice(first, first + QUEUE);
  const tiles = find("tiles");
  const top = tiles.scrollTop;
  tiles.replaceChildren(...part.map((_, place) => {
    const item = make("li");
    item.append(tile(first + place));
    return item;
  }));
  tiles.scrollTop = top;
  show(find("queue-pager"), list.length > QUEUE);
  find("queue-place").textContent = part.length ? `${whole(first + 1)} to ${whole(first + part.length)} of ${whole(list.length)}` : "";
  turnedQueue(first / QUEUE, Math.ceil(list.length / QUEUE));
  const marked = tiles.querySelector("[aria-current]");
  if (marked) {
    const box = tiles.getBoundingClientRect(), own = marked.getBoundingClientRect();
    if (own.top < box.top || own.bottom > box.bottom) tiles.scrollTop += own.top - box.top - box.height / 3;
  }
}
const turnedQueue = setUpPager(find("queue-back"), find("queue-on"), (step) => {
  go(Math.min(list.length - 1, Math.max(0, (Math.floor(current / QUEUE) + step) * QUEUE)));
});

// Deciding --------------------------------------------------------------------------------------

function decision(what, id, verdict, label) {
  return {
    what, id, decision: verdict, label: label || "", reviewer: store.reviewer, comment: noteOf(what, id),
    date: new Date().toISOString().slice(0, 19) + "+00:00",
    given: what === "leak" ? givenOfLeak(id) : "",
  };
}

function givenOfLeak(id) {
  const leak = data.leaks[leakIndex.get(String(id))];
  const sample = leak && data.samples[leak[1]];
  return sample ? sample[LABEL] : "";
}

// A note may be written before its row is decided.
const notes = new Map();
function noteOf(what, id) {
  const own = store.decisions.get(keyOf(what, id));
  return notes.get(keyOf(what, id)) ?? (own ? own.comment : "");
}

// The classes on the keys 1 to 9: neither the one given nor the one suggested, likeliest first.
function others(row) {
  if (!data.classes) return [];
  const taken = new Set([row[GIVEN], row[SUGGESTED]]);
  const known = row[LIKELIEST].map(([label, share]) => [label, share]);
  const named = new Set(known.map(([label]) => label));
  for (let label = 0; label < data.classes && known.length < 11; label += 1) {
    if (!named.has(label)) known.push([label, ""]);
  }
  return known.filter(([label]) => !taken.has(label)).slice(0, 9);
}

function changesFor(index, verb, label) {
  const item = itemsOf[state.pile][index];
  if (state.pile === "twins") {
    const [first, second] = item;
    const wanted = { first: first[1], second: second[1] }[verb];
    return item.map(([id, given]) => {
      if (wanted === undefined) return ["label", id, decision("label", id, verb, "")];
      const right = given === wanted;
      return ["label", id, decision("label", id, right ? "keep" : "relabel", right ? "" : data.labels[wanted][EXACT])];
    });
  }
  const id = item[ID];
  if (state.pile === "leaks") return [["leak", id, decision("leak", id, verb, "")]];
  let wanted = label;
  if (verb === "accept") wanted = data.labels[item[SUGGESTED]][EXACT];
  const given = data.labels[item[GIVEN]][EXACT];
  const verdict = verb === "accept" || verb === "relabel" ? (wanted === given ? "keep" : "relabel") : verb;
  return [["label", id, decision("label", id, verdict, verdict === "relabel" ? wanted : "")]];
}

function decide(verb, label) {
  if (current < 0 || !list.length) return;
  if (verb === "accept" && state.pile === "labels" && suggestsNothing(data.rows[list[current]])) {
    say("No other answer is suggested: keep this one, drop it, or type another.");
    return;
  }
  if (state.chosen.size > 1) {
    confirmRun(verb, label);
    return;
  }
  apply([current], verb, label);
}

function apply(places, verb, label) {
  const indexes = places.map((place) => list[place]);
  const changes = indexes.flatMap((index) => changesFor(index, verb, label));
  const from = { pile: state.pile, index: indexes[0] };
  if (!store.decide(changes, from)) {
    say("This row was decided and corrected before; its line stands in remediation.jsonl.");
    return;
  }
  state.chosen.clear();
  state.anchor = -1;
  const { decision: verdict, label: named } = changes[0][2];
  say(`${state.pile === "leaks" ? plural(indexes.length, "leak", "leaks") : plural(indexes.length, "row", "rows")}: ${WORDS[verdict]}${named ? ` as ${named}` : ""}.`);
  advance(Math.max(...places));
}

function advance(place) {
  const after = list.findIndex((index, at) => at > place && !decisionOf(index));
  const before = list.findIndex((index) => !decisionOf(index));
  if (after >= 0) current = after;
  else if (before >= 0) current = before;
  else current = Math.min(place, list.length - 1);
  state.tab = 0;
  draw();
}

function confirmRun(verb, label) {
  const places = [...state.chosen].sort((a, b) => a - b);
  const dialog = find("confirm");
  const input = find("confirm-number");
  find("confirm-words").textContent = `${verb === "accept" ? "Accept the suggestion for" : `Decide “${WORDS[verb] || verb}” for`} ${places.length} rows at once. Type ${places.length} to confirm.`;
  input.value = "";
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue === "yes" && input.value.trim() === String(places.length)) apply(places, verb, label);
    else say("Nothing was decided.");
  };
  dialog.showModal();
}

function undo() {
  const from = store.undo();
  if (!from) {
    say("Nothing to undo.");
    return;
  }
  if (from.pile !== state.pile) state.pile = from.pile;
  rebuild(false);
  if (!list.includes(from.index)) {
    state.show = "all";
    state.pair = state.search = "";
    state.least = 0;
    rebuild(false);
  }
  current = list.indexOf(from.index);
  say("Undone.");
  draw();
}

function say(words) {
  find("said").textContent = words;
}

// The middle ------------------------------------------------------------------------------------

function decisionButtons(index) {
  const item = itemsOf[state.pile][index];
  const box = make("div", "verdicts");
  if (state.pile === "leaks") {
    box.append(
      keyButton("C", "Copy", "verdict-button bad", () => decide("copy")),
      keyButton("S", "Only similar", "verdict-button", () => decide("similar")),
      keyButton("U", "Unsure", "verdict-button", () => decide("unsure")),
      keyButton("Space", "Blink", "verdict-button", () => blink(find("content"))),
    );
    return box;
  }
  if (state.pile === "twins") {
    box.append(
      keyButton("1", `Both “${data.labels[item[0][1]][DISPLAY]}”`, "verdict-button", () => decide("first")),
      keyButton("2", `Both “${data.labels[item[1][1]][DISPLAY]}”`, "verdict-button", () => decide("second")),
      keyButton("K", "Keep both labels", "verdict-button", () => decide("keep")),
      keyButton("U", "Unsure", "verdict-button", () => decide("unsure")),
      keyButton("X", "Drop both", "verdict-button", () => decide("drop")),
    );
    return box;
  }
  const short = data.classes || data.task === "regression";
  const named = (position) => (short ? ` “${data.labels[position][DISPLAY]}”` : "");
  box.append(
    ...(suggestsNothing(item) ? [] : [keyButton("A", `Accept${named(item[SUGGESTED])}`, "verdict-button good", () => decide("accept"))]),
    keyButton("K", `Keep${named(item[GIVEN])}`, "verdict-button", () => decide("keep")),
    keyButton("U", "Unsure", "verdict-button", () => decide("unsure")),
    keyButton("X", "Drop", "verdict-button", () => decide("drop")),
  );
  return box;
}

function otherLabels(index) {
  const row = data.rows[index];
  const box = make("div", "others");
  others(row).forEach(([label, share], place) => {
    const button = keyButton(String(place + 1), data.labels[label][DISPLAY], "other", () => decide("relabel", data.labels[label][EXACT]));
    if (share) button.append(make("span", "quiet", share));
    box.append(button);
  });
  if (!data.classes || data.classes > 11) {
    const form = make("form", "other-form");
    const input = make("input");
    input.id = "other-label";
    input.autocomplete = "off";
    if (data.classes) input.setAttribute("list", "all-classes");
    const name = make("label", "", data.classes ? "Another class" : "Another label");
    name.htmlFor = "other-label";
    const button = make("button", "", "Take it");
    form.append(name, input, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const known = data.labels.slice(0, data.classes).some((label) => label[EXACT] === input.value);
      if (input.value && (known || !data.classes)) decide("relabel", input.value);
      else say(`“${input.value}” is none of the ${whole(data.classes)} classes.`);
    });
    box.append(form);
  }
  return box;
}

function noteForm(index) {
  const id = idsOf(index)[0];
  const box = make("div", "note-box");
  const label = make("label", "", "Note");
  const input = make("input");
  input.id = "note";
  input.maxLength = 2000;
  label.htmlFor = "note";
  input.value = noteOf(whatOf[state.pile], id);
  input.addEventListener("input", () => {
    notes.set(keyOf(whatOf[state.pile], id), input.value);
    store.note(whatOf[state.pile], id, input.value);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "Escape") find("item").focus();
  });
  box.append(label, input);
  return box;
}

function stateLine(index) {
  const found = decisionOf(index);
  const locked = idsOf(index).some((id) => store.isLocked(whatOf[state.pile], id));
  const line = make("p", "item-state");
  if (found) {
    line.append(make("span", `badge is-${found.decision}`, `${WORDS[found.decision]}${found.label ? ` as ${found.label}` : ""}`));
    if (locked) line.append(make("span", "quiet", " written to the audit's log"));
  }
  const conflict = idsOf(index).map((id) => store.conflicts.get(keyOf(whatOf[state.pile], id))).find(Boolean);
  if (conflict) line.append(conflictPart(conflict));
  return line;
}

function conflictPart(other) {
  const part = make("span", "conflict");
  part.append(make("strong", "", `Conflict: ${other.source} says ${WORDS[other.decision]}${other.label ? ` as ${other.label}` : ""}${other.reviewer ? ` (${other.reviewer})` : ""}. `));
  const theirs = make("button", "", "Take theirs");
  const mine = make("button", "", "Keep mine");
  theirs.type = mine.type = "button";
  theirs.addEventListener("click", () => {
    store.decide([[other.what, other.id, other]], { pile: state.pile, index: list[current] });
    draw();
  });
  mine.addEventListener("click", () => {
    store.conflicts.delete(keyOf(other.what, other.id));
    store.changed();
    draw();
  });
  part.append(mine, theirs);
  return part;
}

function itemHead(index) {
  const item = itemsOf[state.pile][index];
  const place = `${whole(current + 1)} of ${whole(list.length)}`;
  const title = state.pile === "leaks" ? `Evaluation sample ${item[ID]}`
    : state.pile === "twins" ? `Rows ${item[0][0]} and ${item[1][0]}` : `Row ${item[ID]}`;
  const head = make("div", "item-head");
  const heading = make("h1", "", title);
  heading.id = "item-title";
  head.append(heading, make("span", "quiet", place));
  return head;
}

// However long the row is, what decides it stays in sight.
function decideBox(...parts) {
  const box = make("div", "item-decide");
  box.append(...parts);
  return box;
}

function drawItem() {
  const middle = find("item"), right = find("item-evidence");
  if (current < 0 || !list.length) {
    middle.replaceChildren(make("h1", "", "Nothing to decide here"), make("p", "note", data.rows.length || state.pile !== "labels" ? "Nothing matches these filters." : "No row was judged."));
    right.replaceChildren();
    show(right, false);
    return;
  }
  const index = list[current];
  const item = itemsOf[state.pile][index];
  const content = make("div", "item-content");
  content.id = "content";
  const parts = [itemHead(index), stateLine(index)];
  const evidence = [];
  if (state.pile === "labels") {
    content.append(rowContent(item));
    parts.push(content, rowChange(item));
    if (data.task === "regression") parts.push(targetStrip(item));
    const why = make("p", "why");
    why.append(make("strong", "", `${item[PROBABILITY_TEXT]} likely wrong. `), fromData("span", "", item[REASON]));
    parts.push(why, decideBox(decisionButtons(index), otherLabels(index), noteForm(index)));
    evidence.push(...rowEvidence(item));
  } else if (state.pile === "leaks") {
    const tabs = make("div", "tabs");
    item[MATCHES].forEach((match, place) => {
      const button = make("button", "", `row ${match[MATCH_ID]}`);
      button.type = "button";
      button.setAttribute("aria-pressed", String(place === state.tab));
      button.addEventListener("click", () => { state.tab = place; drawItem(); });
      tabs.append(button);
    });
    if (item[MATCHES].length > 1) parts.push(tabs);
    content.append(leakContent(item, state.tab));
    const match = item[MATCHES][state.tab];
    const why = make("p", "why");
    why.append(make("strong", "", `${match[MATCH_KIND][0].toUpperCase()}${match[MATCH_KIND].slice(1)}. `), match[MATCH_NOTE]);
    parts.push(content, why, decideBox(decisionButtons(index), noteForm(index)));
    const chance = make("div", "evidence-part");
    chance.append(make("h2", "", "Could it be chance?"), make("p", "", `p-value ${match[MATCH_P]}: how often unrelated samples look as much like a copy.`));
    evidence.push(chance);
  } else {
    content.append(twinContent(item));
    const why = make("p", "why", "The training set has the same content under two labels: one of them is wrong.");
    parts.push(content, why, decideBox(decisionButtons(index), noteForm(index)));
  }
  if (evidence.length === 1 && evidence[0].matches(".engineers")) parts.push(evidence.pop());
  middle.replaceChildren(...parts);
  middle.scrollTop = 0;
  const doubtful = middle.querySelector(".token.doubtful");
  if (doubtful) middle.scrollTop = doubtful.getBoundingClientRect().top - middle.getBoundingClientRect().top - middle.clientHeight / 3;
  right.replaceChildren(...evidence);
  show(right, evidence.length > 0);
  right.scrollTop = 0;
}

function twinContent(item) {
  const sides = make("div", "sides");
  for (const [id, label, position] of item) {
    const part = make("div", "side");
    part.append(make("h2", "", `Row ${id}`), chip(data.labels[label][DISPLAY], "given"), sampleBody(position));
    sides.append(part);
  }
  return sides;
}

// The foot --------------------------------------------------------------------------------------

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

const isSure = (id) => {
  const found = store.of("label", id);
  return Boolean(found) && found.decision !== "unsure";
};
const isWrong = (id) => ["relabel", "drop"].includes(store.of("label", id).decision);

// What the rows drawn so far say of all: each part counts by its size (Horvitz and Thompson, 1952).
function sampleWords() {
  const parts = drawnParts.map(([flagged, rows, ids]) => {
    const known = ids.filter(isSure);
    return { flagged, rows, known: known.length, wrong: known.filter(isWrong).length };
  });
  const known = sum(parts.map((part) => part.known));
  const words = [`${whole(known)} of ${plural(drawnIds.size, "row", "rows")} drawn at random decided, ${whole(sum(parts.map((part) => part.wrong)))} wrong.`];
  const share = (chosen) => percent(sum(chosen.map((part) => (part.rows * part.wrong) / part.known)) / sum(chosen.map((part) => part.rows)));
  const flagged = parts.filter((part) => part.flagged);
  if (!parts.every((part) => part.known)) words.push("How many of all labels are wrong is estimated once some rows of each part are decided.");
  else {
    words.push(`Of all labels about ${share(parts)} are wrong by these rows${data.drawn.claimed ? `; ${data.drawn.claimed} was claimed` : ""}${flagged.length ? `. Of the flagged ones, ${share(flagged)}` : ""}. dataaudit estimate says how sure that is.`);
  }
  return words;
}

function footWords() {
  if (state.pile === "leaks") {
    const done = progress();
    return [`${whole(done.leaksDecided)} of ${plural(done.leaks, "leak", "leaks")} decided, ${plural(done.copies, "copy", "copies")}.`];
  }
  if (state.show === "drawn") return sampleWords();
  const flagged = data.rows.slice(0, ranked).filter((row) => row[FLAGGED]);
  const left = flagged.filter((row) => !store.of("label", row[ID]));
  const words = [`Still expected among the ${whole(left.length)} left: about ${whole(Math.round(sum(left.map((row) => row[PROBABILITY]))))} wrong labels.`];
  const sure = flagged.filter((row) => isSure(row[ID]));
  const countWrong = (rows) => rows.filter((row) => isWrong(row[ID])).length;
  if (sure.length) {
    const wrong = countWrong(sure);
    const [low, high] = wilson(wrong, sure.length);
    const claimed = sum(sure.map((row) => row[PROBABILITY])) / sure.length;
    words.push(`Wrong so far: ${wrong} of ${sure.length}, ${percent(wrong / sure.length)} (95% interval ${percent(low)} to ${percent(high)}); ${percent(claimed)} was claimed.`);
  }
  if (sure.length >= 20 && left.length) {
    const last = sure.slice(-20), next = left.slice(0, 60);
    words.push(`Of the last 20 in the ranking, ${countWrong(last)} were wrong: about ${whole(Math.round(sum(next.map((row) => row[PROBABILITY]))))} more among the next ${next.length}.`);
  }
  return words;
}

function drawFoot() {
  find("foot-words").replaceChildren(...footWords().map((words) => make("p", "", words)));
  const note = saved.served ? saved.words() : store.kept
    ? "Kept in this browser until you download."
    : "This browser keeps nothing for this page: download before you leave.";
  find("kept").textContent = note;
}

// Drawing all -----------------------------------------------------------------------------------

function drawControls() {
  for (const pile of PILES) {
    const button = find(`pile-${pile}`);
    button.setAttribute("aria-pressed", String(pile === state.pile && state.show !== "drawn"));
    show(button, itemsOf[pile].length > 0 || pile === "labels");
  }
  find("pile-drawn").setAttribute("aria-pressed", String(state.pile === "labels" && state.show === "drawn"));
  show(find("filter-box"), state.pile === "labels");
  find("filter-show").value = state.show;
  find("filter-order").value = state.order;
  find("filter-pair").value = state.pair;
  find("filter-least").value = String(state.least);
  if (find("filter-search").value.trim().toLowerCase() !== state.search) find("filter-search").value = state.search;
}

function draw() {
  drawControls();
  drawQueue();
  drawItem();
  drawFoot();
  if (mode === "decide") writeAddress();
}

// What was decided elsewhere shows at once; a note that is being written stays.
function drawAgain() {
  if (mode !== "decide") return;
  drawQueue();
  if (!find("item").contains(document.activeElement) || document.activeElement === find("item")) drawItem();
  drawFoot();
}

function go(place) {
  current = Math.max(0, Math.min(list.length - 1, place));
  state.chosen.clear();
  state.anchor = -1;
  state.tab = 0;
  draw();
}

function writeAddress() {
  const parts = ["decide"];
  if (state.pile !== "labels") parts.push(`what=${state.pile}`);
  if (current >= 0 && list.length) {
    parts.push(`row=${encodeURIComponent(String(idsOf(list[current])[0]))}`);
  }
  if (state.pair) parts.push(`pair=${state.pair}`);
  if (state.show !== "flagged") parts.push(`show=${state.show}`);
  if (state.order !== (state.show === "drawn" ? "random" : "rank")) parts.push(`order=${state.order}`);
  if (state.least) parts.push(`least=${state.least}`);
  if (state.search) parts.push(`search=${encodeURIComponent(state.search)}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

// Opens what an address asks for: #decide, #row=ID, filters after &.
function openDecide(asked) {
  const wanted = asked.get("what") || "";
  state.pile = { leak: "leaks", leaks: "leaks", twins: "twins" }[wanted] || "labels";
  state.pair = samePair(asked.get("pair") || "");
  state.show = asked.get("show") || "flagged";
  // In the order of the ranking, the first rows drawn would speak for no others.
  state.order = asked.get("order") || (state.show === "drawn" ? "random" : "rank");
  state.least = Number(asked.get("least")) || 0;
  state.search = decoded(asked.get("search") || "").toLowerCase();
  // A field that was being typed in would take the keys that decide.
  if (document.activeElement && document.activeElement.matches("input, select, textarea")) document.activeElement.blur();
  rebuild(false);
  const id = asked.has("row") ? decoded(asked.get("row")) : null;
  if (id !== null) {
    const at = () => list.findIndex((index) => idsOf(index).map(String).includes(id));
    if (at() < 0) {
      Object.assign(state, { pair: "", show: "all", search: "", least: 0 });
      rebuild(false);
    }
    if (at() >= 0) current = at();
    else say(`Row ${id} is not on this page: mislabels.parquet holds every row.`);
  }
  draw();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function onKey(event) {
  if (event.key === "?" && find("show-help") && !event.target.matches("input") && !document.querySelector("dialog[open]")) {
    find("help").showModal();
    return undefined;
  }
  if (mode !== "decide" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target.matches("input, select, textarea")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const onButton = target.matches("button, summary, a");
  const act = (action) => { event.preventDefault(); action(); };
  if (key === "z") return act(undo);
  if (key === "n" && find("note")) return act(() => find("note").focus());
  if (key === "ArrowRight" || key === "ArrowDown") {
    return act(() => (event.shiftKey ? choose(Math.min(list.length - 1, current + 1)) : go(current + 1)));
  }
  if (key === "ArrowLeft" || key === "ArrowUp") {
    return act(() => (event.shiftKey ? choose(Math.max(0, current - 1)) : go(current - 1)));
  }
  if (key === " " && state.pile === "leaks" && !onButton) return act(() => blink(find("content")));
  if (current < 0 || !list.length) return undefined;
  if (state.pile === "leaks") {
    const verb = { c: "copy", s: "similar", u: "unsure" }[key];
    return verb ? act(() => decide(verb)) : undefined;
  }
  if (state.pile === "twins") {
    const verb = { 1: "first", 2: "second", k: "keep", u: "unsure", x: "drop" }[key];
    return verb ? act(() => decide(verb)) : undefined;
  }
  const verb = { a: "accept", k: "keep", u: "unsure", x: "drop" }[key];
  if (verb) return act(() => decide(verb));
  if (/^[1-9]$/.test(key)) {
    const other = others(data.rows[list[current]])[Number(key) - 1];
    return act(() => (other ? decide("relabel", data.labels[other[0]][EXACT]) : say(`There is no class on the key ${key}.`)));
  }
  return undefined;
}

async function load(event) {
  const [file] = event.target.files;
  if (!file) return;
  try {
    const counts = store.merge(readDecisions(await file.text()));
    say(`${plural(counts.new, "decision", "decisions")} loaded, ${whole(counts.same)} known before, ${plural(counts.conflict, "conflict", "conflicts")}.`);
    if (counts.conflict) {
      Object.assign(state, { pile: "labels", show: "conflicts", pair: "", search: "", least: 0 });
      if (![...store.conflicts.values()].some((item) => item.what === "label")) Object.assign(state, { pile: "leaks", show: "flagged" });
      rebuild(false);
      current = list.length ? 0 : -1;
    }
    draw();
  } catch (error) {
    say(error.message);
  }
  event.target.value = "";
}

function openPile(pile, shown, order) {
  Object.assign(state, { pile, order, show: shown });
  rebuild(false);
  draw();
}

function setUpDecide() {
  for (const pile of PILES) {
    const items = itemsOf[pile].length;
    const button = find(`pile-${pile}`);
    button.querySelector(".count").textContent = whole(pile === "labels" ? data.totals.rows : items);
    button.addEventListener("click", () => openPile(pile, "flagged", "rank"));
  }
  const sample = find("pile-drawn");
  sample.querySelector(".count").textContent = whole(drawnIds.size);
  sample.addEventListener("click", () => openPile("labels", "drawn", "random"));
  for (const part of [sample, find("filter-show").querySelector("[value=drawn]")]) show(part, drawnIds.size > 0);
  const choice = find("filter-pair");
  const counts = new Map();
  for (const row of data.rows) if (row[FLAGGED] || !anyFlagged) counts.set(pairOf(row), [(counts.get(pairOf(row)) || [0])[0] + 1, row]);
  for (const [pair, [count, row]] of [...counts].sort((a, b) => b[1][0] - a[1][0]).slice(0, 200)) {
    const option = make("option", "", `${data.labels[row[GIVEN]][DISPLAY].slice(0, 40)} → ${data.labels[row[SUGGESTED]][DISPLAY].slice(0, 40)} (${count})`);
    option.value = pair;
    choice.append(option);
  }
  if (data.classes > 11) {
    const names = make("datalist");
    names.id = "all-classes";
    for (const label of data.labels.slice(0, data.classes)) {
      const option = make("option");
      option.value = label[EXACT];
      names.append(option);
    }
    find("decide").append(names);
  }
  const bind = (id, name) => find(id).addEventListener("input", (event) => {
    const { value } = event.target;
    state[name] = name === "search" ? value.trim().toLowerCase() : name === "least" ? Number(value) : value;
    rebuild(true);
    draw();
  });
  bind("filter-show", "show");
  bind("filter-order", "order");
  bind("filter-pair", "pair");
  bind("filter-least", "least");
  bind("filter-search", "search");
  find("reviewer").value = store.reviewer;
  find("reviewer").addEventListener("input", (event) => { store.reviewer = event.target.value; store.changed(); });
  for (const button of document.querySelectorAll(".download")) button.addEventListener("click", download);
  if (find("show-help")) find("show-help").addEventListener("click", () => find("help").showModal());
  find("load").addEventListener("change", load);
  find("undo").addEventListener("click", undo);
  document.addEventListener("keydown", onKey);
}
