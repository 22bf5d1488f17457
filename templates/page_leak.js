// An evaluation sample beside the training rows it may be a copy of.

const MATCH_ID = 0, MATCH_SAMPLE = 1, MATCH_KIND = 2, MATCH_NOTE = 3, MATCH_P = 4, LEFT = 5, RIGHT = 6;

// Texts come in pieces that are the same, differ, are the same, … in both.
function pieces(text, lengths) {
  const body = fromData("p", "sample-text");
  let start = 0;
  lengths.forEach((length, place) => {
    const part = text.slice(start, start + length);
    body.append(place % 2 ? make("mark", "", part) : part);
    start += length;
  });
  if (!lengths.length) body.append(text);
  return body;
}

function leakBody(position, lengths) {
  const sample = data.samples[position];
  if (!sample) return sampleBody(-1);
  const body = make("div", "sample");
  if (sample[IMAGE]) body.append(picture(sample, `Sample ${sample[ID]}`));
  if (sample[TEXT]) body.append(pieces(sample[TEXT], lengths));
  return body;
}

function side(title, position, lengths) {
  const part = make("div", "side");
  part.append(make("h2", "", title));
  const sample = data.samples[position];
  const line = make("p", "quiet", "label ");
  if (sample) line.append(chip(sample[LABEL], ""));
  part.append(line, leakBody(position, lengths));
  return part;
}

// The suspect and one of its matches. Blinking shows the match where the suspect stands.
function leakContent(leak, place) {
  const [id, sample, matches] = leak;
  const match = matches[place];
  const content = make("div", "leak-content");
  const own = data.samples[sample], other = data.samples[match[MATCH_SAMPLE]];
  if (own && other && own[FIELDS].length && !own[TEXT] && !own[IMAGE]) {
    content.append(matrix([
      { title: `evaluation sample ${id}`, label: own[LABEL], sample: own },
      { title: `training row ${match[MATCH_ID]}`, label: other[LABEL], sample: other },
    ]));
    return content;
  }
  const sides = make("div", "sides");
  const left = side(`Evaluation sample ${id}`, sample, match[LEFT]);
  const blinked = side(`Training row ${match[MATCH_ID]}`, match[MATCH_SAMPLE], match[RIGHT]);
  blinked.classList.add("blinked");
  blinked.hidden = true;
  sides.append(left, blinked, side(`Training row ${match[MATCH_ID]}`, match[MATCH_SAMPLE], match[RIGHT]));
  content.append(sides);
  return content;
}

function blink(content) {
  const parts = content.querySelectorAll(".sides > .side");
  if (parts.length < 3) return;
  const swap = !parts[0].hidden;
  show(parts[0], !swap);
  show(parts[1], swap);
}
