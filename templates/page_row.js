// One training row in the middle, in the form that its kind of data and label needs.

const SEPARATOR = "|";
const NO_LABEL = "(none)";
const MISSING = "missing";

function chip(text, style) {
  return fromData("span", `label ${style}`, text);
}

function partsOf(text) {
  return text.split(SEPARATOR).map((name) => name.trim()).filter((name) => name && name !== NO_LABEL);
}

// Boxes over their picture. Marks and strokes say what colours say, too.
function boxedPicture(sample, given, suggested, words) {
  const size = sample[FIELDS].find(([name]) => name === "size");
  const [width, height] = (size ? size[1] : "1 x 1").split(" x ").map(Number);
  const before = partsOf(given), after = partsOf(suggested);
  const box = picture(sample, words);
  const svg = drawing("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Given: ${given}. Suggested: ${suggested}.` });
  const letters = Math.max(width, height) / 18;
  for (const part of new Set([...before, ...after])) {
    const removed = !after.includes(part), added = !before.includes(part);
    const style = removed ? "removed" : added ? "added" : "kept";
    const at = part.lastIndexOf(" ");
    const [left, top, right, bottom] = part.slice(at + 1).split(",").map(Number);
    const place = { x: left, y: top, width: right - left, height: bottom - top };
    // What goes is named above its box and what comes below, so that both can be read.
    const line = added ? Math.min(bottom + letters, height - letters / 5) : Math.max(top - letters / 4, letters);
    const name = drawing("text", { class: style, x: left, y: line, "font-size": letters });
    name.textContent = (removed ? "\u2212 " : added ? "+ " : "") + part.slice(0, at);
    svg.append(drawing("rect", { class: "behind", ...place }), drawing("rect", { class: style, ...place }), name);
  }
  box.classList.add("boxed");
  box.append(svg);
  const part = make("div", "sample");
  part.append(box, make("p", "quiet", "Thin: a box that stays. Dashed, −: given, but not in the suggestion. Thick, +: suggested."));
  return part;
}

// Sets of labels: what the suggestion adds and what it takes away.
function setChips(given, suggested) {
  const members = (text) => partsOf(text);
  const before = members(given), after = members(suggested);
  const line = make("p", "change");
  for (const name of new Set([...before, ...after])) {
    const removed = !after.includes(name), added = !before.includes(name);
    const part = chip(name, removed ? "removed" : added ? "added" : "");
    if (removed || added) part.prepend(make("span", "sign", removed ? "− " : "+ "));
    line.append(part);
  }
  if (!line.children.length) line.append(make("span", "quiet", "no label"));
  return line;
}

// Tags stand above their words; where the suggestion differs, both do.
function taggedWords(words, given, suggested) {
  const box = make("div", "tagged");
  box.dir = "auto";
  words.forEach((word, place) => {
    const differs = given[place] !== suggested[place];
    const item = make("span", differs ? "token doubtful" : "token");
    const tags = make("span", "tag", given[place] === "O" && !differs ? "\u00a0" : given[place]);
    if (differs) tags.append(" → ", make("strong", "", suggested[place]));
    item.append(tags, fromData("span", "word", word));
    box.append(item);
  });
  return box;
}

// Of answers to instructions no other one is suggested.
const suggestsNothing = (row) => data.task === "instruction" && row[GIVEN] === row[SUGGESTED];

// Given and suggested label in a line; of tags, those that differ.
function changeInShort(row) {
  const given = data.labels[row[GIVEN]], suggested = data.labels[row[SUGGESTED]];
  if (data.task === "boxes") {
    const parts = [partsOf(given[EXACT]), partsOf(suggested[EXACT])];
    return parts.map((own, side) => own.filter((part) => !parts[1 - side].includes(part)).join(" | ") || NO_LABEL);
  }
  if (suggestsNothing(row)) return [given[DISPLAY], ""];
  if (data.task !== "token-classification") return [given[DISPLAY], suggested[DISPLAY]];
  const before = given[EXACT].split(" "), after = suggested[EXACT].split(" ");
  const places = before.map((_, place) => place).filter((place) => before[place] !== after[place]);
  return [before, after].map((tags) => places.map((place) => tags[place]).join(" "));
}

// A label as it stands beside a sample: a target in four digits; of tags, how often each stands.
function shortLabel(label) {
  if (data.task === "token-classification") {
    const counts = new Map();
    for (const tag of label.split(" ")) counts.set(tag, (counts.get(tag) || 0) + 1);
    return [...counts].map(([tag, count]) => `${tag} ${count}`).join(", ");
  }
  const number = Number(label);
  return data.task === "regression" && label !== "" && Number.isFinite(number) ? String(Number(number.toPrecision(4))) : label;
}

// A number on the strip of its neighbours' targets.
function targetStrip(row) {
  const numbers = [...row[NEIGHBOURS], ...row[AGAINST]]
    .map(([position]) => Number(data.samples[position][LABEL])).filter(Number.isFinite);
  const given = Number(data.labels[row[GIVEN]][EXACT]);
  const expected = Number(data.labels[row[SUGGESTED]][EXACT]);
  const every = [...numbers, given, expected];
  const low = Math.min(...every), span = Math.max(...every) - low || 1;
  const at = (value) => 12 + (376 * (value - low)) / span;
  const svg = drawing("svg", { class: "strip", viewBox: "0 0 400 44", role: "img", "aria-label": `Given ${shortLabel(given)}, expected ${shortLabel(expected)}, look-alikes ${numbers.map(shortLabel).join(", ")}` });
  svg.append(drawing("line", { class: "axis", x1: 6, x2: 394, y1: 26, y2: 26 }));
  for (const value of numbers) svg.append(drawing("line", { class: "tick", x1: at(value), x2: at(value), y1: 17, y2: 35 }));
  svg.append(
    drawing("circle", { class: "expected", cx: at(expected), cy: 26, r: 7 }),
    drawing("circle", { class: "given", cx: at(given), cy: 26, r: 7 }),
  );
  const figure = make("div", "strip-figure");
  figure.append(svg, make("p", "quiet", "Orange: the target given. Green: expected. Ticks: the targets of look-alikes."));
  return figure;
}

// A table row beside its look-alikes: fields are lines, those that differ come first.
function matrix(columns) {
  const names = [...new Set(columns.flatMap(({ sample }) => sample[FIELDS].map(([name]) => name)))];
  const cells = columns.map(({ sample }) => new Map(sample[FIELDS]));
  const of = (name, place) => cells[place].get(name) ?? MISSING;
  const differs = (name) => cells.some((_, place) => of(name, place) !== of(name, 0));
  const different = names.filter(differs), equal = names.filter((name) => !differs(name));

  function table(shown, caption) {
    const box = make("div", "scroll");
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", caption);
    const element = make("table", "matrix");
    const head = element.createTHead().insertRow();
    head.append(make("td"));
    for (const { title, label } of columns) {
      const cell = make("th");
      cell.scope = "col";
      cell.append(fromData("span", "", title), make("br"), chip(label, ""));
      head.append(cell);
    }
    const body = element.createTBody();
    for (const name of shown) {
      const line = body.insertRow();
      const header = fromData("th", "", name);
      header.scope = "row";
      line.append(header);
      columns.forEach((_, place) => {
        const value = of(name, place);
        const marked = place > 0 && value !== of(name, 0);
        const cell = fromData("td", value === MISSING && !marked ? "quiet" : "");
        cell.append(marked ? make("mark", "", tidy(value)) : tidy(value));
        line.append(cell);
      });
    }
    box.append(element);
    return box;
  }

  const part = make("div", "matrix-part");
  if (different.length) part.append(table(different, "Fields that differ"));
  if (equal.length) {
    const folded = make("details", "equal");
    folded.append(make("summary", "", `${plural(equal.length, "field is", "fields are")} the same`), table(equal, "Fields that are the same"));
    part.append(folded);
  }
  return part;
}

function rowContent(row) {
  const sample = data.samples[row[SAMPLE]];
  if (!sample) return sampleBody(-1);
  const given = data.labels[row[GIVEN]][EXACT], suggested = data.labels[row[SUGGESTED]][EXACT];
  if (data.task === "token-classification" && sample[TEXT]) {
    const words = sample[TEXT].split(" ");
    const before = given.split(" "), after = suggested.split(" ");
    const known = Math.min(words.length, before.length);
    if (words.length <= before.length) return taggedWords(words.slice(0, known), before, after);
  }
  if (data.task === "boxes" && sample[IMAGE]) return boxedPicture(sample, given, suggested, `Sample ${sample[ID]}`);
  if (sample[FIELDS].length && !sample[TEXT] && !sample[IMAGE]) {
    const columns = [{ title: `row ${row[ID]}`, label: shortLabel(sample[LABEL]), sample }];
    for (const [references, words] of [[row[AGAINST], "trusted"], [row[NEIGHBOURS], "training"]]) {
      for (const [position] of references.slice(0, 2)) {
        const other = data.samples[position];
        columns.push({ title: `${words} ${other[ID]}`, label: shortLabel(other[LABEL]), sample: other });
      }
    }
    return matrix(columns);
  }
  return sampleBody(row[SAMPLE]);
}

function rowChange(row) {
  const given = data.labels[row[GIVEN]], suggested = data.labels[row[SUGGESTED]];
  if (data.task === "multi-label" || data.task === "boxes") return setChips(given[EXACT], suggested[EXACT]);
  const line = make("p", "change");
  if (data.task === "token-classification") {
    line.append(make("span", "quiet", "Doubtful tags are framed: given → suggested."));
    return line;
  }
  line.append(make("span", "quiet", "given "), chip(given[DISPLAY], "given"));
  if (suggestsNothing(row)) return line;
  line.append(make("span", "arrow", " → "), make("span", "quiet", "suggested "), chip(suggested[DISPLAY], "suggested"));
  return line;
}

function evidenceList(title, references) {
  const part = make("div", "evidence-part");
  part.append(make("h2", "", title));
  if (!references.length) {
    part.append(make("p", "quiet", "None shown."));
    return part;
  }
  const list = make("ul", "exhibits");
  for (const [position, noteAt] of references) {
    const [id, label, image] = data.samples[position];
    const item = make("li", image ? "with-image" : "");
    const head = make("p", "exhibit-head");
    head.append(chip(shortLabel(label), ""), make("span", "quiet", ` ${id}`));
    item.append(sampleBody(position), head, make("p", "quiet", data.notes[noteAt]));
    list.append(item);
  }
  part.append(list);
  return part;
}

function classList(row) {
  const part = make("div", "evidence-part");
  if (!row[LIKELIEST].length) return part;
  part.append(make("h2", "", "Likeliest classes"));
  const list = make("ol", "likeliest");
  for (const [label, share] of row[LIKELIEST].slice(0, 5)) {
    const item = make("li");
    item.append(chip(data.labels[label][DISPLAY], label === row[GIVEN] ? "given" : label === row[SUGGESTED] ? "suggested" : ""), make("span", "quiet", ` ${share}`));
    list.append(item);
  }
  part.append(list);
  return part;
}

function engineersPart(row) {
  const part = make("details", "engineers");
  part.append(make("summary", "", "For engineers"));
  const box = make("div", "scroll");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Signals of this row");
  const table = make("table", "signals");
  const head = table.createTHead().insertRow();
  for (const name of ["signal", "value", "higher than"]) {
    const cell = make("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  row[SIGNALS].forEach((signal, index) => {
    const line = body.insertRow();
    const name = make("th", "", data.signals[index]);
    name.scope = "row";
    line.append(name, make("td", "number", signal ? signal[0] : "—"));
    const share = make("td", "number");
    if (signal) share.append(make("span", "", `${signal[1].toFixed(1)}% of rows`), bar(signal[1] / 100));
    line.append(share);
  });
  box.append(table);
  part.append(box);
  return part;
}

function rowEvidence(row) {
  const sample = data.samples[row[SAMPLE]];
  const inMatrix = sample && sample[FIELDS].length && !sample[TEXT] && !sample[IMAGE];
  const parts = [classList(row)];
  if (!inMatrix) {
    const suggested = data.labels[row[SUGGESTED]][DISPLAY];
    const title = data.classes ? `Trusted samples labelled “${suggested}”` : "Trusted samples most alike";
    parts.push(evidenceList(title, row[AGAINST]), evidenceList("Most alike in training", row[NEIGHBOURS]));
  }
  parts.push(engineersPart(row));
  return parts.filter((part) => part.children.length);
}
