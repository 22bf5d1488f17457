// What all modes share: the data, elements, samples as a person can look at them.

const data = JSON.parse(document.getElementById("data").textContent);

// Positions in a row, a sample, a leak and a match of the data.
const ID = 0, GIVEN = 1, SUGGESTED = 2, PROBABILITY = 3, PROBABILITY_TEXT = 4, FLAGGED = 5,
  RANK = 6, SAMPLE = 7, AGAINST = 8, NEIGHBOURS = 9, SIGNALS = 10, NOTE = 11, SCORE = 12,
  LIKELIEST = 13, REASON = 14;
const DISPLAY = 0, EXACT = 1;
const LABEL = 1, IMAGE = 2, TEXT = 3, FIELDS = 4;
const MATCHES = 2;

const find = (id) => document.getElementById(id);
const show = (element, yes) => { element.hidden = !yes; };
const whole = (number) => number.toLocaleString("en");
const plural = (number, one, many) => `${whole(number)} ${number === 1 ? one : many}`;
const percent = (share) => `${(100 * share).toFixed(share === 0 || share === 1 ? 0 : 1)}%`;

function make(tag, style, text) {
  const element = document.createElement(tag);
  if (style) element.className = style;
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawing(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function bar(share) {
  const svg = drawing("svg", { class: "bar flagged", viewBox: "0 0 100 6", "aria-hidden": "true", preserveAspectRatio: "none" });
  svg.append(
    drawing("rect", { class: "bar-back", width: 100, height: 6 }),
    drawing("rect", { class: "bar-fill", width: Math.round(share * 100), height: 6 }),
  );
  return svg;
}

function keyButton(key, words, style, action) {
  const button = make("button", style);
  button.type = "button";
  button.append(make("kbd", "", key), make("span", "", words));
  button.addEventListener("click", action);
  return button;
}

// Data may be written in any direction; each piece of it keeps its own.
function fromData(tag, style, text) {
  const element = make(tag, style, text);
  element.dir = "auto";
  return element;
}

// Long fractions of a table are cut to what an eye compares.
function tidy(value) {
  if (!/^-?\d+\.\d{4,}(e[-+]?\d+)?$/i.test(value)) return value;
  return String(Number(Number(value).toPrecision(4))).replace(/(\.\d{4})\d+/, "$1");
}

function excerptOf(sample) {
  if (!sample) return "";
  return sample[TEXT] || sample[FIELDS].map(([name, value]) => `${name} ${tidy(value)}`).join(", ");
}

function picture(sample, words) {
  const button = make("button", "picture");
  button.type = "button";
  button.title = "Show it as large as this page holds it";
  const image = make("img");
  image.src = sample[IMAGE];
  image.alt = words;
  button.append(image);
  button.addEventListener("click", () => {
    const dialog = find("zoom");
    dialog.querySelector("img").src = sample[IMAGE];
    dialog.querySelector("img").alt = words;
    dialog.showModal();
  });
  return button;
}

// One sample as a person can look at it.
function sampleBody(position) {
  const body = make("div", "sample");
  if (position < 0) {
    body.append(make("p", "quiet", "Left out, to keep this file small."));
    return body;
  }
  const sample = data.samples[position];
  if (sample[IMAGE]) body.append(picture(sample, `Sample ${sample[ID]}`));
  if (sample[TEXT]) body.append(fromData("p", "sample-text", sample[TEXT]));
  if (sample[FIELDS].length) {
    const list = make("dl", "sample-fields");
    for (const [name, value] of sample[FIELDS]) {
      list.append(fromData("dt", "", name), fromData("dd", "", tidy(value)));
    }
    body.append(list);
  }
  return body;
}

// A pager whose buttons keep the keyboard's place when the last page disables one of them.
function setUpPager(previous, next, turn) {
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  return (page, pages) => {
    const active = document.activeElement;
    previous.disabled = page === 0;
    next.disabled = page >= pages - 1;
    if (active === previous && previous.disabled) next.focus();
    if (active === next && next.disabled) previous.focus();
  };
}
