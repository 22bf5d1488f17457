"use strict";
// Data may hold anything a data set holds: it reaches the page by textContent only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const show = (element, yes) => { element.hidden = !yes; };

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

  // Theme and print -----------------------------------------------------------------------------

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

  // Budget slider -------------------------------------------------------------------------------

  function setUpBudget() {
    const slider = find("budget");
    if (!slider) return;
    const strong = (text) => make("strong", "", text);
    const update = () => {
      const [x, y, budget, found, precision, recall] = data.budgets[Number(slider.value)];
      find("budget-words").replaceChildren(
        "Reviewing the first ", strong(budget), " rows finds about ", strong(found),
        ` wrong labels: ${precision} of what is looked at, ${recall} of all that are wrong.`,
      );
      slider.setAttribute("aria-valuetext", `${budget} rows, about ${found} wrong`);
      const marker = find("expected-found-marker");
      marker.setAttribute("cx", x);
      marker.setAttribute("cy", y);
    };
    slider.addEventListener("input", update);
    update();
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

  // Rows ----------------------------------------------------------------------------------------

  const ID = 0, GIVEN = 1, SUGGESTED = 2, PROBABILITY = 3, PROBABILITY_TEXT = 4, FLAGGED = 5,
    RANK = 6, SAMPLE = 7, AGAINST = 8, NEIGHBOURS = 9, SIGNALS = 10, NOTE = 11;
  const PAGE = 25;
  const PRINTED = 1000;
  const collator = new Intl.Collator("en", { numeric: true });

  // One sample as a person can look at it.
  function sampleBody(position) {
    const body = make("div", "sample");
    if (position < 0) {
      body.append(make("p", "quiet", "Left out, to keep this file small."));
      return body;
    }
    const [id, , image, text, fields] = data.samples[position];
    if (image) {
      const picture = make("img");
      picture.src = image;
      picture.alt = `Sample ${id}`;
      body.append(picture);
    }
    if (text) body.append(make("p", "sample-text", text));
    if (fields.length) {
      const list = make("dl", "sample-fields");
      for (const [name, value] of fields) list.append(make("dt", "", name), make("dd", "", value));
      body.append(list);
    }
    return body;
  }

  function evidenceList(title, references) {
    const part = make("div", "evidence-part");
    part.append(make("h4", "", title));
    if (!references.length) {
      part.append(make("p", "quiet", "None shown."));
      return part;
    }
    const list = make("ul", "exhibits");
    for (const [position, noteAt] of references) {
      const [id, label, image] = data.samples[position];
      const item = make("li", image ? "with-image" : "");
      const head = make("p", "exhibit-head");
      head.append(make("span", "label", label), make("span", "quiet", ` ${id}`));
      item.append(head, sampleBody(position), make("p", "quiet", data.notes[noteAt]));
      list.append(item);
    }
    part.append(list);
    return part;
  }

  function signalTable(row) {
    const part = make("div", "evidence-part");
    part.append(make("h4", "", "Signals"));
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
    part.append(table);
    return part;
  }

  function detail(row, columns, id) {
    const line = make("tr", "detail");
    line.id = id;
    const cell = make("td");
    cell.colSpan = columns;
    const panel = make("div", "panel");
    const own = make("div", "evidence-part own");
    own.append(make("h4", "", `Row ${row[ID]}`));
    own.append(sampleBody(row[SAMPLE]));
    const verdict = make("p");
    verdict.append("given ", make("span", "label given", data.labels[row[GIVEN]]), " suggested ",
      make("span", "label suggested", data.labels[row[SUGGESTED]]));
    own.append(verdict);
    if (row[NOTE]) own.append(make("p", "quiet", row[NOTE]));
    panel.append(
      own,
      evidenceList("Held-out samples that speak against it", row[AGAINST]),
      evidenceList("Most alike in training", row[NEIGHBOURS]),
      signalTable(row),
    );
    cell.append(panel);
    line.append(cell);
    return line;
  }

  function rowLine(row, columns) {
    const line = make("tr", row[FLAGGED] ? "is-flagged" : "is-kept");
    const id = `row-${row[RANK]}`;
    const sample = data.samples[row[SAMPLE]];
    const button = make("button", "open");
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    if (sample && sample[2]) {
      const picture = make("img");
      picture.src = sample[2];
      picture.alt = "";
      button.append(picture);
    }
    const words = make("span", "open-words");
    words.append(make("span", "row-id", String(row[ID])));
    const excerpt = sample ? sample[3] || sample[4].map(([name, value]) => `${name} ${value}`).join(", ") : "";
    if (excerpt) words.append(make("span", "excerpt", excerpt));
    button.append(words);
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) {
        line.nextElementSibling.remove();
        button.removeAttribute("aria-controls");
      } else {
        line.after(detail(row, columns, id));
        button.setAttribute("aria-controls", id);
      }
    });
    const first = make("td", "row-cell");
    first.append(button);
    const probability = make("td", "probability");
    probability.append(make("span", "", row[PROBABILITY_TEXT]), bar(row[PROBABILITY]));
    const label = (index, style) => {
      const cell = make("td");
      cell.append(make("span", `label ${style}`, data.labels[index]));
      return cell;
    };
    line.append(
      make("td", "number wide", String(row[RANK])), first, label(row[GIVEN], "given"),
      label(row[SUGGESTED], "suggested"), probability,
      make("td", "wide quiet", row[FLAGGED] ? "flagged" : "kept"),
    );
    return line;
  }

  function setUpRows() {
    const area = find("rows");
    if (!area) return;
    const sortValues = {
      rank: (row) => row[RANK], id: (row) => row[ID], given: (row) => row[GIVEN],
      suggested: (row) => row[SUGGESTED], probability: (row) => row[PROBABILITY],
      state: (row) => -row[FLAGGED],
    };
    const haystacks = data.rows.map((row) => {
      const sample = data.samples[row[SAMPLE]];
      const parts = [row[ID], data.labels[row[GIVEN]], data.labels[row[SUGGESTED]]];
      if (sample) parts.push(sample[3], ...sample[4].map((field) => field[1]));
      return parts.join("\n").toLowerCase();
    });
    const controls = ["given", "suggested", "state"].map(find);
    const search = find("search");
    const body = find("rows-table").tBodies[0];
    const headers = [...find("rows-table").tHead.querySelectorAll("th")];
    let order = { by: "rank", down: false };
    let page = 0;
    let matching = [];
    const updatePager = setUpPager(find("previous"), find("next"), (step) => { page += step; draw(); });

    function draw() {
      const pages = Math.max(1, Math.ceil(matching.length / PAGE));
      page = Math.min(page, pages - 1);
      const first = page * PAGE;
      const part = matching.slice(first, first + PAGE);
      body.replaceChildren(...part.map((index) => rowLine(data.rows[index], headers.length)));
      const total = data.rows.length.toLocaleString("en");
      find("rows-status").textContent = part.length
        ? `Rows ${(first + 1).toLocaleString("en")} to ${(first + part.length).toLocaleString("en")} of ${matching.length.toLocaleString("en")} that match (${total} on this page).`
        : `No row matches (${total} on this page).`;
      find("page-number").textContent = `Page ${page + 1} of ${pages}`;
      updatePager(page, pages);
    }

    // Paper has no pager: what matches is printed, around what the reader has before them.
    function setUpPrint() {
      let added = [];
      let said = "";
      window.addEventListener("beforeprint", () => {
        const first = page * PAGE;
        const line = (index) => rowLine(data.rows[index], headers.length);
        const before = matching.slice(0, Math.min(first, PRINTED)).map(line);
        const after = matching.slice(first + PAGE, Math.max(PRINTED, first + PAGE)).map(line);
        body.prepend(...before);
        body.append(...after);
        added = [...before, ...after];
        const status = find("rows-status");
        said = status.textContent;
        const left = matching.length - [...body.children].filter((row) => !row.classList.contains("detail")).length;
        const total = matching.length.toLocaleString("en");
        status.textContent = left > 0
          ? `${total} rows match; ${left.toLocaleString("en")} of them are not printed: mislabels.parquet holds every row.`
          : `${total} rows match.`;
      });
      window.addEventListener("afterprint", () => {
        for (const row of added) row.remove();
        added = [];
        find("rows-status").textContent = said;
      });
    }

    function update() {
      const wanted = search.value.trim().toLowerCase();
      const [given, suggested, state] = controls.map((control) => (control ? control.value : ""));
      const value = sortValues[order.by];
      matching = data.rows.map((row, index) => index).filter((index) => {
        const row = data.rows[index];
        return (given === "" || row[GIVEN] === Number(given))
          && (suggested === "" || row[SUGGESTED] === Number(suggested))
          && (state === "" || row[FLAGGED] === Number(state))
          && (wanted === "" || haystacks[index].includes(wanted));
      });
      const direction = order.down ? -1 : 1;
      matching.sort((left, right) => {
        const a = value(data.rows[left]), b = value(data.rows[right]);
        const compared = typeof a === "number" && typeof b === "number"
          ? a - b : collator.compare(String(a), String(b));
        return direction * compared || data.rows[left][RANK] - data.rows[right][RANK];
      });
      page = 0;
      draw();
    }

    for (const header of headers) {
      const button = header.querySelector("button");
      button.addEventListener("click", () => {
        const by = button.dataset.sort;
        order = { by, down: order.by === by ? !order.down : by === "probability" };
        for (const other of headers) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", order.down ? "descending" : "ascending");
        update();
      });
    }
    for (const control of controls) if (control) control.addEventListener("change", update);
    search.addEventListener("input", update);
    search.form.addEventListener("submit", (event) => event.preventDefault());
    find("reset-rows").addEventListener("click", () => { search.form.reset(); update(); });
    update();
    setUpPrint();
    show(area, true);
    show(find("without-script"), false);
  }

  // Pairs ---------------------------------------------------------------------------------------

  function setUpPairs() {
    const area = find("pairs");
    if (!area) return;
    const pairs = [...area.children];
    const size = 10;
    let page = 0;
    const updatePager = setUpPager(find("pairs-previous"), find("pairs-next"), (step) => { page += step; draw(); });
    function draw() {
      const kind = find("kind").value;
      const matching = pairs.filter((pair) => kind === "" || pair.dataset.kind === kind);
      const pages = Math.max(1, Math.ceil(matching.length / size));
      page = Math.min(page, pages - 1);
      const visible = new Set(matching.slice(page * size, (page + 1) * size));
      for (const pair of pairs) show(pair, visible.has(pair));
      find("pairs-status").textContent = `${matching.length} of ${pairs.length} pairs.`;
      find("pairs-page-number").textContent = `Page ${page + 1} of ${pages}`;
      updatePager(page, pages);
      show(find("pairs-pager"), pages > 1);
    }
    find("kind").addEventListener("change", () => { page = 0; draw(); });
    window.addEventListener("beforeprint", () => {
      const kind = find("kind").value;
      for (const pair of pairs) show(pair, kind === "" || pair.dataset.kind === kind);
    });
    window.addEventListener("afterprint", draw);
    draw();
    show(find("pairs-controls"), true);
  }

  setUpTheme();
  setUpBudget();
  setUpRows();
  setUpPairs();
})();
